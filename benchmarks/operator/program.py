"""The operator as a process of this machine, with the cluster's and the broker's addresses."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operator.tenants import NAMESPACE
from benchmarks.worker import processes
from dev import paths
from dev.kube import Kube, wait_for

_LIVENESS_PORT = 18_080
METRICS_PORT = 18_081


@dataclass(frozen=True, slots=True)
class Operator:
    """A running operator. `started` is monotonic."""

    session: processes.Session
    started: float

    def reconciled(self) -> set[str]:
        """TaskQueues that its log says were brought to RabbitMQ and Kubernetes."""
        return {
            line["task_queue"]
            for line in self._log()
            if line.get("event") == "task-queue-reconciled"
        }

    def troubles(self) -> list[str]:
        """What its log warns of."""
        return [
            json.dumps(line) for line in self._log() if line.get("level") not in ("info", "debug")
        ]

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        return processes.cpu_seconds([self.session.pid])

    def resident_bytes(self) -> int:
        """Resident memory now."""
        return processes.resident_bytes(self.session.pid)

    def wait_reconciled(self, count: int, *, seconds: float) -> float:
        """The moment, monotonic, at which so many TaskQueues had been reconciled."""
        wait_for(
            f"{count} TaskQueues are reconciled",
            lambda: len(self.reconciled()) >= count,
            seconds=seconds,
            every=0.25,
        )
        return time.monotonic()

    def _log(self) -> list[dict[str, str]]:
        self.session.check_alive()
        lines = self.session.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@contextmanager
def operator(kube: Kube, *, folder: Path) -> Iterator[Operator]:
    """Run the operator for the benchmark's namespace; ended by SIGTERM."""
    log = folder / f"operator-{time.monotonic_ns()}.log"
    environment = {
        "KUBECONFIG": kube.kubeconfig,
        "LONGSHORE_NAMESPACE": NAMESPACE,
        "LONGSHORE_LIVENESS_PORT": str(_LIVENESS_PORT),
        "LONGSHORE_HTTP_PORT": str(METRICS_PORT),
    }
    started = time.monotonic()
    with processes.session(
        [sys.executable, "-m", "longshore_operator"],
        environment=environment,
        folder=paths.REPO,
        log=log,
    ) as session:
        yield Operator(session, started)
