"""Where the cluster allows fewer workers than are wanted, those that are allowed do the work."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dev.kube import wait_for
from longshore_operator.core.kubernetes.workload import RETRIED_ANNOTATION
from tests.e2e.obstacles import rule
from tests.e2e.scaling.workers import QUICK, deployment, events_of, staying, wait_for_workers
from tests.e2e.tenant import Tenant

EIGHT = {**QUICK, "max": 8, "steadyFor": "0s"}


def allow(tenant: Tenant, pods: int) -> None:
    """Have the namespace's quota allow so many pods."""
    metadata = {"name": "few", "namespace": tenant.namespace}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata,
        "spec": {"hard": {"pods": str(pods)}},
    }
    tenant.kube.apply(json.dumps(quota))

    def look() -> bool:
        found = tenant.kube.get("resourcequota", "few", f"--namespace={tenant.namespace}")
        return bool(found.get("status", {}).get("hard") == {"pods": str(pods)})

    wait_for(f"a quota of {pods}", look)


def test_the_one_worker_that_a_quota_allows_takes_every_job(tenant: Tenant) -> None:
    allow(tenant, 1)
    tenant.declared(scaling=EIGHT)
    with tenant.client() as client:
        for _ in range(8):
            client.enqueue(tenant.queue(), "hold", seconds=1)
        told = tenant.wait_for_condition("WorkersReady", "False", reason="FailedCreate")
        assert "exceeded quota" in told["message"]
        assert tenant.condition("Ready")["status"] == "False"
        wait_for("few wait", lambda: tenant.jobs().get("ready", 8) <= 3, seconds=60)
        client.enqueue(tenant.queue(), "note", text="late")
        published = time.monotonic()
        # Cordoned for each replica without a pod, the worker would be idle for half a minute each.
        wait_for("all are done", lambda: tenant.jobs().get("succeeded") == 9, seconds=30)
        assert time.monotonic() - published < 20
    wait_for("nothing is asked for any more", lambda: tenant.replicas() == 0, seconds=30)
    told = tenant.wait_for_condition("Ready", "True", seconds=30)
    wait_for(
        "it is in the status",
        lambda: tenant.condition("WorkersReady")["message"] == "no workers are needed",
        seconds=30,
    )
    assert events_of(tenant, "work")["FailedCreate"] <= 2


def test_pods_are_made_soon_after_the_quota_allows_them(tenant: Tenant) -> None:
    """Kubernetes itself would try again after ever longer pauses."""
    allow(tenant, 0)
    tenant.apply(scaling={**QUICK, "min": 1})
    tenant.wait_for_condition("Ready", "False", reason="FailedCreate")
    wait_for("they were tried again", lambda: RETRIED_ANNOTATION in annotations(tenant))

    allow(tenant, 5)

    tenant.wait_for_condition("WorkersReady", "True", reason="Ready", seconds=35)
    assert tenant.condition("Ready")["status"] == "True"


def annotations(tenant: Tenant) -> dict[str, str]:
    found: dict[str, str] = deployment(tenant)["metadata"]["annotations"]
    return found


def test_a_rollout_that_a_quota_leaves_no_room_for_holds_no_idle_worker(tenant: Tenant) -> None:
    allow(tenant, 2)
    tenant.declared(scaling={**EIGHT, "max": 5})
    with tenant.client() as client:
        jobs = [client.enqueue(tenant.queue(), "hold", seconds=12) for _ in range(2)]
        assert jobs
        wait_for_workers(tenant, 2)

        tenant.apply(scaling={**EIGHT, "max": 5}, worker={"env": [{"name": "V", "value": "2"}]})

        wait_for("both jobs are done", lambda: tenant.jobs().get("succeeded") == 2, seconds=60)
    wait_for("nobody is left", lambda: not staying(tenant) and not tenant.replicas(), seconds=45)
    assert (tenant.jobs()["failed"], tenant.jobs()["dead"]) == (0, 0)
    tenant.wait_for_condition("Ready", "True")


def test_a_rollout_replaces_the_only_worker_that_a_quota_allows(tenant: Tenant) -> None:
    allow(tenant, 1)
    scaling = {**QUICK, "min": 1, "max": 5}
    tenant.apply(scaling=scaling)
    tenant.wait_for_condition("WorkersReady", "True", reason="Ready")
    before = wait_for_workers(tenant, 1)

    tenant.apply(scaling=scaling, worker={"env": [{"name": "V", "value": "2"}]})

    wait_for(
        "the worker is a new one",
        lambda: staying(tenant) and not before & staying(tenant) and _ready(tenant) == 1,
        seconds=90,
    )
    tenant.wait_for_condition("Ready", "True")


def _ready(tenant: Tenant) -> int:
    ready: int = deployment(tenant)["status"].get("readyReplicas", 0)
    return ready


@contextmanager
def at_most(tenant: Tenant, replicas: int) -> Iterator[None]:
    """An admission rule for the number of workers."""
    rules = list(
        rule(
            tenant,
            "deployments",
            ("CREATE", "UPDATE"),
            expression=f"object.spec.replicas <= {replicas}",
            message=f"at most {replicas} replicas in this namespace",
        )
    )
    tenant.kube.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": rules}))
    try:
        yield
    finally:
        for each in rules:
            tenant.kube.kubectl("delete", each["kind"], each["metadata"]["name"])


def test_as_many_workers_are_there_as_a_rule_admits_and_all_when_it_is_gone(
    tenant: Tenant,
) -> None:
    with at_most(tenant, 2):
        tenant.declared(scaling={**QUICK, "max": 5})
        with tenant.client() as client:
            for _ in range(5):
                client.enqueue(tenant.queue(), "hold", seconds=25)

            wait_for("two workers are asked for", lambda: tenant.replicas() == 2, seconds=15)
            told = tenant.wait_for_condition("ScalingActive", "False", reason="ScaleRefused")
            assert "at most 2 replicas in this namespace" in told["message"]
            assert len(tenant.events("ScaleRefused")) == 1
            tenant.wait_for_condition("WorkersReady", "True", reason="Ready")
    wait_for("all are asked for", lambda: tenant.replicas() >= 3, seconds=30)
    tenant.wait_for_condition("ScalingActive", "True")
    assert len(tenant.events("ScaleRefused")) == 1
