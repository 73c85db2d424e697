"""What nodes may do to workers."""

from typing import Any

from dev.kube import wait_for
from tests.e2e.scaling.workers import (
    QUICK,
    deployment,
)
from tests.e2e.tenant import Tenant

NOT_EVICTABLE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def annotations(tenant: Tenant) -> dict[str, Any]:
    (pod,) = tenant.pods()
    return pod["metadata"].get("annotations") or {}


def test_a_worker_with_long_jobs_is_protected_while_it_is_busy(tenant: Tenant) -> None:
    """No node autoscaler waits for longer than 600 s. Idle is who had no job for 60 s."""
    tenant.apply(scaling={**QUICK, "min": 1}, timeLimit={"hard": "2h"})
    tenant.wait_for_condition("Ready", "True", seconds=90)
    template = deployment(tenant)["spec"]["template"]["spec"]
    budget = tenant.kube.get("pdb", "work-worker", f"--namespace={tenant.namespace}")

    assert template["terminationGracePeriodSeconds"] == 7235
    assert {each["topologyKey"] for each in template["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert budget["spec"]["maxUnavailable"] == "10%"
    assert NOT_EVICTABLE.items() <= annotations(tenant).items()
    wait_for(
        "an idle one is not protected",
        lambda: not NOT_EVICTABLE.keys() & annotations(tenant).keys(),
        seconds=100,
    )
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=5)
    wait_for(
        "a busy one is", lambda: NOT_EVICTABLE.items() <= annotations(tenant).items(), seconds=30
    )
