"""TaskQueues come, change and go; the operator may go too."""

import pytest

from dev import release
from dev.kube import Kube, wait_for
from tests.e2e.tenant import Tenant
from tests.scheduling import ALONE


def test_a_task_queue_derives_every_timeout_from_its_limit(tenant: Tenant) -> None:
    tenant.apply(timeLimit={"hard": "2h", "soft": "1h55m"})
    tenant.wait_for_condition("QueueDeclared", "True")

    timeouts = wait_for("timeouts", lambda: tenant.status().get("timeouts"))
    assert timeouts["ackTimeout"] == "2h2m5s"
    assert timeouts["terminationGrace"] == "2h35s"
    pod = tenant.kube.get("deployment", "work-worker", f"--namespace={tenant.namespace}")["spec"][
        "template"
    ]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 7235
    assert (
        pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    )


def test_applying_again_leaves_the_scale_alone(tenant: Tenant) -> None:
    tenant.apply(scaling={"min": 2})
    tenant.wait_for_condition("Ready", "True", seconds=90)

    tenant.apply(scaling={"min": 2}, worker={"env": [{"name": "CHANGED", "value": "yes"}]})

    deployment = wait_for(
        "the new template",
        lambda: (
            found
            if "CHANGED"
            in str(
                found := tenant.kube.get(
                    "deployment", "work-worker", f"--namespace={tenant.namespace}"
                )
            )
            else None
        ),
    )
    assert deployment["spec"]["replicas"] == 2


@pytest.mark.xdist_group(ALONE)
def test_an_operator_that_starts_again_disturbs_nobody(tenant: Tenant, kube: Kube) -> None:
    tenant.apply(scaling={"min": 1})
    tenant.wait_for_condition("Ready", "True", seconds=90)
    before = {pod["metadata"]["name"] for pod in tenant.pods()}
    generation = generation_of(tenant)
    operator = (f"deployment/{release.RELEASE}", f"--namespace={release.NAMESPACE}")

    kube.kubectl("rollout", "restart", *operator)
    kube.kubectl("rollout", "status", *operator, "--timeout=120s")

    with tenant.client() as client:
        client.enqueue(tenant.queue(), "note", text="hello")
    logs = ("logs", "deployment/work-worker", f"--namespace={tenant.namespace}")
    wait_for("the job is done", lambda: "noted: hello" in kube.kubectl(*logs), seconds=30)
    tenant.wait_for_condition("Ready", "True")
    assert {pod["metadata"]["name"] for pod in tenant.pods()} == before
    assert generation_of(tenant) == generation


def generation_of(tenant: Tenant) -> int:
    found = tenant.kube.get("deployment", "work-worker", f"--namespace={tenant.namespace}")
    return int(found["metadata"]["generation"])
