"""What is not known, or not ours to say, holds the number of workers, with a condition."""

import json

import pytest

from dev import paths
from dev.kube import Kube, wait_for
from dev.management import management
from tests.e2e.objects import replica_set
from tests.e2e.scaling.workers import (
    QUICK,
    staying,
    wait_for_line,
    wait_for_workers,
)
from tests.e2e.tenant import Tenant


@pytest.mark.slow
def test_while_the_broker_is_away_nobody_comes_or_goes(lone: Tenant, kube: Kube) -> None:
    lone.apply(scaling={**QUICK, "max": 2}, timeLimit={"hard": "120s"})
    lone.wait_for_condition("QueueDeclared", "True")
    with lone.client() as client:
        for _ in range(4):
            client.enqueue(lone.queue(), "hold_until_told")
        before = wait_for_workers(lone, 2)
        wait_for("both are busy", lambda: lone.jobs().get("running") == 2, seconds=60)
    pod = (f"{lone.place.service}-0", f"--namespace={lone.namespace}")
    rabbitmq = ("exec", *pod, "--", "rabbitmqctl")

    kube.kubectl(*rabbitmq, "suspend_listeners")
    try:
        kube.kubectl(*rabbitmq, "close_all_connections", "--global", "gone")
        lone.wait_for_condition("ScalingActive", "False", reason="BrokerUnreachable")
        assert lone.replicas() == 2
        assert staying(lone) == before
    finally:
        kube.kubectl(*rabbitmq, "resume_listeners")

    lone.wait_for_condition("ScalingActive", "True", seconds=30)
    assert lone.replicas() == 2
    lone.tell(*before)
    with management(kube, lone.place) as broker:
        wait_for("the queue is empty", lambda: broker.depth(lone.queue()) == 0, seconds=120)
    wait_for("all workers are gone", lambda: lone.replicas() == 0, seconds=90)


def test_while_one_worker_is_silent_nobody_goes_and_a_condition_says_so(tenant: Tenant) -> None:
    """A pod of the workers' that runs, is ready, and says nothing."""
    tenant.apply(scaling={**QUICK, "policy": "fixed", "max": 1})
    tenant.wait_for_condition("Ready", "True", seconds=90)
    (worker,) = wait_for_workers(tenant, 1)
    silent = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "silent",
            "namespace": tenant.namespace,
            "labels": {"longshore.dev/task-queue": "work"},
            "ownerReferences": [replica_set(tenant, "work")],
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "worker",
                    "image": json.loads(paths.IMAGES_RECORD.read_text())["pause"],
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
        },
    }
    tenant.kube.apply(json.dumps(silent))
    said = tenant.wait_for_condition("ScalingActive", "False", reason="WorkersSilent")
    assert "silent among them" in said["message"]

    tenant.apply(scaling={**QUICK, "policy": "backlog"})

    wait_for_line(tenant, "silence is not idleness", "work")
    assert staying(tenant) == {worker, "silent"}
    tenant.kube.kubectl("delete", "pod", "silent", f"--namespace={tenant.namespace}")
    wait_for("the idle one goes", lambda: staying(tenant) == set())


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
