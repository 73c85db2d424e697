"""A running job ends whatever goes around it, and runs under the strictest rules for pods."""

import json

import pytest

from dev.kube import wait_for
from tests.e2e.scaling.workers import log_of, staying, wait_for_workers, worker_of
from tests.e2e.tenant import HANDLERS, Tenant


def held(tenant: Tenant) -> str:
    """The pod that holds a job until it is told."""
    tenant.apply(scaling={"max": 1})
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold_until_told")
    return worker_of(tenant, "holding")


def exists(tenant: Tenant, *words: str) -> bool:
    return tenant.kube.kubectl("get", *words, "--ignore-not-found", "--output=name") != ""


def test_a_deletion_lets_the_job_end_and_keeps_those_that_wait(tenant: Tenant) -> None:
    pod = held(tenant)
    with tenant.client() as client:
        for number in range(2):
            client.enqueue(tenant.queue(), "note", text=f"{number}")
    where = f"--namespace={tenant.namespace}"

    tenant.kube.kubectl("delete", "tq", "work", where, "--wait=false")
    # Until it hears of it, which the kubelet may take a second for, it takes jobs.
    wait_for("it drains", lambda: '"worker-draining"' in log_of(tenant, pod), seconds=30)
    tenant.tell(pod)

    wait_for("it is gone", lambda: not exists(tenant, "tq", "work", where), seconds=60)
    wait_for("both are there", lambda: tenant.depth() == 2, seconds=30)
    tenant.apply()
    wait_for("they are done", lambda: tenant.jobs().get("succeeded") == 2, seconds=60)


def test_a_namespace_goes_after_the_job_has_ended(tenant: Tenant) -> None:
    tenant.apply(scaling={"max": 1})
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=10)
    worker_of(tenant, "holding")

    tenant.delete(wait=False)

    namespace = ("namespace", tenant.namespace)
    wait_for("it is gone", lambda: not exists(tenant, *namespace), seconds=150)
    # A job that had been cut short would be there still, and its queue with it.
    assert tenant.depth() is None


SLOW_TO_START = """
import time
print("the interpreter starts", flush=True)
time.sleep(1.3)
"""


def test_a_worker_that_is_deleted_as_it_starts_hears_of_it(tenant: Tenant) -> None:
    """Process 1 ignores SIGTERM until it has a handler for it, which takes Python a moment."""
    tenant.configmap("handlers", {"jobs.py": HANDLERS, "sitecustomize.py": SLOW_TO_START})
    tenant.apply(scaling={"min": 1, "max": 1})
    (pod,) = wait_for_workers(tenant, 1)
    wait_for("it starts", lambda: "interpreter" in log_of(tenant, pod), seconds=60, every=0.1)

    where = f"--namespace={tenant.namespace}"
    tenant.kube.kubectl("delete", "tq", "work", where, "--wait=false")

    # Its grace is 95 s.
    wait_for("it is gone", lambda: not exists(tenant, "pod", pod, where), seconds=60)


def test_a_broker_that_is_deleted_and_made_again_costs_no_job(lone: Tenant) -> None:
    pod = held(lone)
    broker = lone.kube.get("broker", lone.place.broker)

    lone.kube.kubectl("delete", "broker", lone.place.broker)
    lone.wait_for_condition("BrokerReachable", "False", reason="BrokerNotFound")
    lone.tell(pod)
    wait_for("it is done", lambda: '"outcome": "succeeded"' in log_of(lone, pod), seconds=30)
    assert staying(lone) == {pod}

    metadata = {"name": lone.place.broker}
    lone.kube.apply(json.dumps({**broker, "metadata": metadata, "status": None}))
    lone.wait_for_condition("Ready", "True", seconds=60)
    with lone.client() as client:
        client.enqueue(lone.queue(), "note", text="after it")
    wait_for("the next one is done", lambda: lone.jobs().get("succeeded") == 2, seconds=60)
    wait_for("nothing is left", lambda: lone.depth() == 0, seconds=30)


@pytest.mark.parametrize("isolation", ["Warm", "Fork", "Exec"])
def test_any_user_may_work_where_nothing_can_be_written(tenant: Tenant, isolation: str) -> None:
    """In a `restricted` namespace, as a user that no image knows, without a `/tmp`."""
    label = "pod-security.kubernetes.io/enforce=restricted"
    tenant.kube.kubectl("label", "namespace", tenant.namespace, label)
    command = {"command": ["wc", "-c"]} if isolation == "Exec" else {"handlers": ["jobs"]}
    container = {
        "name": "worker",
        "volumeMounts": [{"name": "handlers", "mountPath": "/app"}],
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    pod = {
        "volumes": [{"name": "handlers", "configMap": {"name": "handlers"}}],
        "securityContext": {"runAsUser": 1000650000, "runAsGroup": 0},
        "containers": [container],
    }
    runs = {"handlers": None, "isolation": isolation, **command, "podTemplate": {"spec": pod}}
    tenant.apply(worker=runs)

    with tenant.client() as client:
        for _ in range(2):
            client.enqueue(tenant.queue(), "measure", text="x" * 2_000_000)

    wait_for("both are done", lambda: tenant.jobs().get("succeeded") == 2, seconds=60)
