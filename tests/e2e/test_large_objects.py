"""Objects that are too large to be copied into an annotation, as kopf and kubectl do by default."""

from tests.e2e.tenant import Tenant

VARIABLES = 100
LENGTH = 6000


def test_a_large_task_queue_is_served_and_gets_no_annotation(tenant: Tenant) -> None:
    env = [{"name": f"V{number}", "value": "x" * LENGTH} for number in range(VARIABLES)]
    manifest = tenant.manifest("large", worker={"env": env}, scaling={"paused": True})
    tenant.kube.kubectl("create", "--filename=-", given=manifest)
    tenant.wait_until_declared("large")

    where = ("taskqueue", "large", f"--namespace={tenant.namespace}")
    assert "annotations" not in tenant.kube.get(*where)["metadata"]
    tenant.kube.kubectl("delete", *where, "--timeout=60s")
