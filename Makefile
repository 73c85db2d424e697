# Longshore. `make` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
DEV := $(PYTHON) -m dev
PYTEST := $(BIN)/python -m pytest --durations=20
# Tests mostly wait: this many run at a time on two CPUs.
PROCESSES ?= 8
MANY := $(PYTEST) --numprocesses=$(PROCESSES)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: venv cluster-up images ## everything up, 200 real jobs done, back to zero workers
	$(BIN)/python -m demo

.PHONY: check
check: lint types unit ## before every commit: lint, types, import contracts, unit tests

.PHONY: test
test: venv lint types cluster-up brokers-up images ## everything checked: lint, types, all tests; ARGS="tests/e2e -k drift" runs a part
	$(MANY) $(ARGS)

.PHONY: lint
lint: venv ## ruff, import contracts, generated files up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/longshore crds --check

.PHONY: types
types: venv ## mypy --strict: product, tests, benchmarks, chaos, demo, dev
	$(BIN)/mypy

.PHONY: unit
unit: venv ## tests that need nothing
	$(PYTEST) --numprocesses=2 tests/unit $(ARGS)

.PHONY: integration
integration: venv brokers-up ## tests against real RabbitMQ 4.0 and 4.3
	$(MANY) tests/integration $(ARGS)

.PHONY: e2e
e2e: venv cluster-up images ## tests on a real cluster
	$(MANY) tests/chart tests/e2e $(ARGS)

.PHONY: fuzz
fuzz: venv brokers-up ## fuzzers for SECONDS=600; ARGS="-k handshake" runs some
	LONGSHORE_FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest tests/fuzz --timeout 0 $(ARGS)

.PHONY: bench-worker
bench-worker: venv cluster-up brokers-up images ## our worker beside its peers; 20 min
	$(BIN)/python -m benchmarks.worker

.PHONY: bench-paired
bench-paired: venv brokers-up ## our worker beside that of another commit: BASE=475d41e; 15 min
	$(BIN)/python -m benchmarks.worker.paired $(BASE) $(ARGS)

.PHONY: bench-endurance
bench-endurance: venv brokers-up ## a job of 20 minutes, heartbeats of 5 s
	$(BIN)/python -m benchmarks.worker --rounds 0 --only endurance --scale 40 \
	  --output benchmarks/results/endurance.json

.PHONY: bench-neighbours
bench-neighbours: venv brokers-up ## kills and probes beside nine hostile jobs: benchmarks/results/neighbours.json; 6 min
	$(BIN)/python -m benchmarks.neighbours $(ARGS)

.PHONY: bench-cluster
bench-cluster: venv cluster-up images ## scaling on a real cluster: benchmarks/results/cluster.json; ARGS="--seconds 600" is shorter
	$(BIN)/python -m benchmarks.cluster $(ARGS)

.PHONY: bench-obstacles
bench-obstacles: venv cluster-up images ## how soon each of 34 causes is told: benchmarks/results/obstacles.json; 5 min
	$(BIN)/python -m benchmarks.obstacles $(ARGS)

.PHONY: bench-scaling
bench-scaling: venv ## the scaler beside KEDA and HPA, simulated: benchmarks/results/scaling.json
	$(BIN)/python -m benchmarks.scaling

.PHONY: bench-operator
bench-operator: venv cluster-up brokers-up ## the operator with a thousand TaskQueues: benchmarks/results/operator.json
	$(BIN)/python -m benchmarks.operator

.PHONY: chaos
chaos: venv cluster-up images ## 20 minutes of faults on the real cluster; ARGS="--seed 1 2 3 --rabbitmq 4.0 4.3"
	$(BIN)/python -m chaos --output benchmarks/results/chaos.json $(ARGS)

.PHONY: chaos-again
chaos-again: venv ## recorded rounds judged once more; ARGS="RESULTS HISTORY..." as chaos printed them
	$(BIN)/python -m chaos.again --output benchmarks/results/chaos.json $(ARGS)

.PHONY: chaos-short
chaos-short: venv cluster-up images ## 3 minutes of it, also part of make test
	$(PYTEST) tests/e2e/test_chaos.py $(ARGS)

.PHONY: soak
soak: venv cluster-up images ## an hour of jobs; memory, descriptors, threads and disk must be flat
	$(BIN)/python -m chaos.soak --output benchmarks/results/soak.json $(ARGS)

.PHONY: cluster-up
cluster-up: ## a one-node Kubernetes; LONGSHORE_CLUSTER=auto|kubeconfig|kind|embedded
	$(DEV) cluster up

.PHONY: cluster-down
cluster-down: brokers-down ## leave nothing of it behind
	$(DEV) cluster down

.PHONY: images
images: venv cluster-up ## build the images and load them into the cluster
	$(DEV) images

.PHONY: brokers-up
brokers-up: ## RabbitMQ 4.0 and 4.3 on loopback, for the integration tests
	$(DEV) brokers up

.PHONY: brokers-down
brokers-down: ## stop them
	$(DEV) brokers down

.PHONY: format
format: venv ## let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: crds
crds: venv ## write crds/ and the CRD chart from the models
	$(BIN)/longshore crds --output crds
	$(BIN)/longshore crds --output charts/longshore-crds/files

.PHONY: pins
pins: venv ## pin all dependencies anew, with hashes and no addresses
	for pin in "worker" "operator --extra operator" "dev --extra operator --extra sentry --extra opentelemetry --group dev"; do \
	  set -- $$pin; name=$$1; shift; \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-find-links pyproject.toml $$@ -o requirements/$$name.txt; \
	done

.PHONY: venv
venv: .venv/.stamp

.venv/.stamp: pyproject.toml requirements/dev.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Longshore needs Python 3.11 or newer; PYTHON={sys.executable} is {sys.version.split()[0]}")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
