"""Workers are taken away one by one, and never one that has a job."""

import json
import os
import subprocess
import sys
from pathlib import Path

from dev import release
from dev.kube import Kube, wait_for
from tests.e2e.scaling.workers import (
    QUICK,
    log_of,
    staying,
    wait_for_pods,
    wait_for_workers,
    worker_of,
)
from tests.e2e.tenant import Tenant

RABBITMQ = f"{release.BROKER_SERVICE}-0"


def test_the_idle_one_of_two_workers_goes_and_the_busy_one_ends_its_job(tenant: Tenant) -> None:
    tenant.apply(scaling=QUICK)
    tenant.wait_for_condition("QueueDeclared", "True")
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=5)
        long = client.enqueue(tenant.queue(), "hold", seconds=45)
        wait_for_workers(tenant, 2)
        busy = worker_of(tenant, long)

        wait_for_pods(tenant, {busy})

        assert tenant.replicas() == 1
    wait_for("both jobs are done", lambda: tenant.jobs().get("succeeded") == 2, seconds=90)
    assert tenant.jobs()["failed"] == tenant.jobs()["dead"] == 0
    wait_for_pods(tenant, set())
    assert tenant.replicas() == 0


def test_a_worker_on_its_way_out_works_again_when_it_is_needed(tenant: Tenant) -> None:
    """One worker may go in a minute: of two that are cordoned, the second waits for its turn."""
    tenant.apply(scaling={**QUICK, "maxShrinkage": 1}, timeLimit={"hard": "120s"})
    tenant.wait_for_condition("QueueDeclared", "True")
    with tenant.client() as client:
        for seconds in (5, 5, 80):
            client.enqueue(tenant.queue(), "hold", seconds=seconds)
        before = wait_for_workers(tenant, 3)
        wait_for_workers(tenant, 2)
        cordoned = wait_for(
            "the second idle one is cordoned",
            lambda: [pod for pod in staying(tenant) if '"cordoned"' in log_of(tenant, pod)],
        )

        job = client.enqueue(tenant.queue(), "note", text="after all")

        assert worker_of(tenant, job) == cordoned[0]
        assert staying(tenant) < before
    wait_for("all jobs are done", lambda: tenant.jobs().get("succeeded") == 4, seconds=120)
    assert tenant.jobs()["failed"] == 0


def test_an_autoscaler_of_others_is_named_and_left_alone(tenant: Tenant) -> None:
    tenant.apply(scaling={**QUICK, "min": 1})
    tenant.wait_for_condition("Ready", "True", seconds=90)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "work-worker"}
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa-work", "namespace": tenant.namespace},
        "spec": {"minReplicas": 2, "maxReplicas": 2, "scaleTargetRef": target},
    }

    tenant.kube.apply(json.dumps(hpa))

    found = tenant.wait_for_condition("ScalingActive", "False", reason="ForeignAutoscaler")
    assert "keda-hpa-work" in found["message"]
    tenant.kube.kubectl("delete", "hpa", "keda-hpa-work", f"--namespace={tenant.namespace}")
    tenant.wait_for_condition("ScalingActive", "True", seconds=60)


def test_explain_shows_the_reasons_and_the_last_hour(tenant: Tenant) -> None:
    tenant.apply(scaling={**QUICK, "min": 1})
    tenant.wait_for_condition("Ready", "True", seconds=90)

    program = str(Path(sys.executable).with_name("longshore"))
    operator = f"--operator={release.NAMESPACE}/{release.RELEASE}"
    said = subprocess.run(
        [program, "explain", "work", f"--namespace={tenant.namespace}", operator],
        env={**os.environ, "KUBECONFIG": tenant.kube.kubeconfig},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert said.returncode == 0, said.stderr
    assert "1 workers, 1 wanted" in said.stdout
    assert "scaling.min raises it to 1" in said.stdout
    assert "an hour ago" in said.stdout


def test_while_the_broker_is_away_nobody_comes_or_goes(tenant: Tenant, kube: Kube) -> None:
    tenant.apply(scaling={**QUICK, "max": 2})
    tenant.wait_for_condition("QueueDeclared", "True")
    with tenant.client() as client:
        for _ in range(4):
            client.enqueue(tenant.queue(), "hold", seconds=20)
        before = wait_for_workers(tenant, 2)
        wait_for("both are busy", lambda: tenant.jobs().get("running") == 2, seconds=60)
    rabbitmq = ("exec", RABBITMQ, f"--namespace={release.NAMESPACE}", "--", "rabbitmqctl")

    kube.kubectl(*rabbitmq, "suspend_listeners")
    try:
        kube.kubectl(*rabbitmq, "close_all_connections", "--global", "gone")
        tenant.wait_for_condition("ScalingActive", "False", reason="BrokerUnreachable")
        assert tenant.replicas() == 2
        assert staying(tenant) == before
    finally:
        kube.kubectl(*rabbitmq, "resume_listeners")

    tenant.wait_for_condition("ScalingActive", "True", seconds=30)
    assert tenant.replicas() == 2
    wait_for("the queue is empty", lambda: tenant.depth() == 0, seconds=120)
    wait_for("all workers are gone", lambda: tenant.replicas() == 0, seconds=90)
