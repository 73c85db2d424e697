"""What nodes may do to workers."""

from typing import Any

from dev.kube import wait_for
from tests.e2e.scaling.workers import deployment, wait_for_workers
from tests.e2e.tenant import Tenant

NOT_EVICTABLE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def annotations(tenant: Tenant) -> dict[str, Any]:
    (pod,) = tenant.pods("long")
    return pod["metadata"].get("annotations") or {}


def test_workers_are_spread_and_evicted_a_few_at_a_time(standing: Tenant) -> None:
    wait_for_workers(standing, 1, "long")
    template = deployment(standing, "long")["spec"]["template"]["spec"]
    budget = standing.kube.get("pdb", "long-worker", f"--namespace={standing.namespace}")

    assert template["terminationGracePeriodSeconds"] == 7235
    assert {each["topologyKey"] for each in template["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    assert budget["spec"]["maxUnavailable"] == "10%"
    assert budget["spec"]["selector"]["matchLabels"] == {"longshore.dev/task-queue": "long"}


def test_a_worker_with_long_jobs_is_protected_while_it_is_busy(standing: Tenant) -> None:
    """No node autoscaler waits for longer than 600 s. Idle is who had no job for 60 s."""
    template = deployment(standing, "long")["spec"]["template"]

    assert NOT_EVICTABLE.items() <= template["metadata"]["annotations"].items(), "from the start"
    wait_for(
        "an idle one is not protected",
        lambda: not NOT_EVICTABLE.keys() & annotations(standing).keys(),
        seconds=100,
    )
    with standing.client("long") as client:
        client.enqueue(standing.queue("long"), "hold", seconds=5)
    wait_for(
        "a busy one is", lambda: NOT_EVICTABLE.items() <= annotations(standing).items(), seconds=30
    )
