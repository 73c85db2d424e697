"""What is as it should be is read again, and not written again."""

from typing import Any

from dev import release
from dev.kube import wait_for
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import RabbitMQ

KINDS = "taskqueues,deployments,secrets,poddisruptionbudgets,configmaps"


def objects(tenant: Tenant) -> dict[str, Any]:
    """All that belongs to the namespace, with their resource versions."""
    found = tenant.kube.get(KINDS, f"--namespace={tenant.namespace}")["items"]
    return {f"{each['kind']} {each['metadata']['name']}": each for each in found}


def reconciled(tenant: Tenant) -> int:
    """How often the operator's log tells of it."""
    logs = tenant.kube.kubectl(
        "logs", f"deployment/{release.RELEASE}", f"--namespace={release.NAMESPACE}"
    )
    name = f'"{tenant.namespace}.work"'
    return sum(name in line and '"task-queue-reconciled"' in line for line in logs.splitlines())


def test_a_second_reconcile_writes_nothing(apart: tuple[Tenant, RabbitMQ]) -> None:
    tenant, rabbitmq = apart
    tenant.declared(queue={"maxLength": 100}, deadLetter={"maxLength": 10})
    tenant.wait_for_condition("Ready", "True")
    tenant.kube.kubectl("annotate", "tq", "work", f"--namespace={tenant.namespace}", "touched=yes")
    seen: list[dict[str, Any]] = [{}]

    def is_settled() -> bool:
        seen.append(objects(tenant))
        return {"ready", "dead"} <= tenant.jobs().keys() and seen[-1] == seen[-2]

    wait_for("the status is whole", is_settled, every=3.0)
    asked, before = len(rabbitmq.asked_by_pods()), reconciled(tenant)

    # A changed Broker is connected to anew, and all on it compared anew; this lets in whom it did.
    change = '{"spec": {"allowedNamespaces": {}}}'
    tenant.kube.kubectl("patch", "broker", tenant.place.broker, "--type=merge", f"--patch={change}")

    wait_for("it is reconciled again", lambda: reconciled(tenant) > before, seconds=60)
    since = rabbitmq.asked_by_pods()[asked:]
    assert f"GET /api/policies/{rabbitmq.vhost}" in since, "RabbitMQ writes down what it is asked"
    assert [each for each in since if not each.startswith("GET ")] == []
    after = objects(tenant)
    assert [
        (name, key, seen[-1][name].get(key), after[name].get(key))
        for name in seen[-1]
        for key in after[name]
        if after[name][key] != seen[-1][name].get(key)
    ] == []
