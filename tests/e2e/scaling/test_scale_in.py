"""Workers are taken away one by one, and never one that has a job."""

import json

import pytest

from dev.kube import wait_for
from tests.e2e.objects import replica_set
from tests.e2e.scaling.workers import (
    QUICK,
    log_of,
    staying,
    wait_for_pods,
    wait_for_workers,
    worker_of,
)
from tests.e2e.tenant import Tenant


@pytest.mark.slow
def test_the_idle_one_of_two_workers_goes_and_the_busy_one_ends_its_job(tenant: Tenant) -> None:
    tenant.apply(scaling=QUICK, timeLimit={"hard": "120s"})
    tenant.wait_for_condition("QueueDeclared", "True")
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=5)
        long = client.enqueue(tenant.queue(), "hold_until_told")
        wait_for_workers(tenant, 2)
        busy = worker_of(tenant, long)

        wait_for_pods(tenant, {busy})

        assert tenant.replicas() == 1
        assert tenant.jobs()["running"] == 1
        tenant.tell(busy)
    wait_for("both jobs are done", lambda: tenant.jobs().get("succeeded") == 2, seconds=90)
    assert tenant.jobs()["failed"] == tenant.jobs()["dead"] == 0
    wait_for_pods(tenant, set())
    assert tenant.replicas() == 0


@pytest.mark.slow
def test_a_worker_on_its_way_out_works_again_when_it_is_needed(tenant: Tenant) -> None:
    """One worker may go in a minute: of two that are cordoned, the second waits for its turn."""
    tenant.apply(scaling={**QUICK, "maxShrinkage": 1}, timeLimit={"hard": "120s"})
    tenant.wait_for_condition("QueueDeclared", "True")
    with tenant.client() as client:
        for _ in range(2):
            client.enqueue(tenant.queue(), "hold", seconds=5)
        long = client.enqueue(tenant.queue(), "hold_until_told")
        before = wait_for_workers(tenant, 3)
        busy = worker_of(tenant, long)
        wait_for_workers(tenant, 2)
        cordoned = wait_for(
            "the second idle one is cordoned",
            lambda: [pod for pod in staying(tenant) if '"worker-cordoned"' in log_of(tenant, pod)],
        )

        job = client.enqueue(tenant.queue(), "note", text="after all")

        assert worker_of(tenant, job) == cordoned[0]
        assert staying(tenant) < before
    tenant.tell(busy)
    wait_for("all jobs are done", lambda: tenant.jobs().get("succeeded") == 4, seconds=120)
    assert tenant.jobs()["failed"] == 0


@pytest.mark.slow
def test_a_pod_that_is_over_is_no_worker(tenant: Tenant) -> None:
    """What an eviction leaves: Kubernetes has replaced it, and would take another one for it."""
    tenant.apply(scaling=QUICK)
    tenant.wait_for_condition("Ready", "True")
    labels = {"longshore.dev/task-queue": "work", "app.kubernetes.io/managed-by": "longshore"}
    container = {"name": "worker", "image": tenant.image, "command": ["python3", "-c", "exit(1)"]}
    left = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "evicted",
            "namespace": tenant.namespace,
            "labels": labels,
            "ownerReferences": [replica_set(tenant, "work")],
        },
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    tenant.kube.apply(json.dumps(left))
    wait_for("it is over", lambda: phase_of(tenant, "evicted") == "Failed")

    with tenant.client() as client:
        for seconds in (3, 20):
            client.enqueue(tenant.queue(), "hold", seconds=seconds)
    seen = []

    def done() -> bool:
        seen.append(tenant.replicas())
        return tenant.jobs().get("succeeded") == 2

    wait_for("both jobs are done", done, seconds=90)
    wait_for("nobody works", lambda: tenant.replicas() == 0)
    assert tenant.jobs()["failed"] == tenant.jobs()["dead"] == 0
    assert max(seen) == 2
    assert 1 in seen[seen.index(2) :], "the idle one went while the other worked"
    assert tenant.condition("WorkersReady")["status"] == "True"
    assert phase_of(tenant, "evicted") == "Failed"


def phase_of(tenant: Tenant, pod: str) -> str:
    found: dict[str, str] = {
        each["metadata"]["name"]: each["status"]["phase"] for each in tenant.pods()
    }
    return found.get(pod, "")
