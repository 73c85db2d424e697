"""What is as it should be is read again, and not written again."""

from typing import Any

from dev import release
from dev.kube import wait_for
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import VHOST, RabbitMQ

KINDS = "taskqueues,deployments,secrets,poddisruptionbudgets,configmaps"


def versions(tenant: Tenant) -> dict[str, str]:
    """Resource versions of all that belongs to the namespace, and of its Broker."""
    objects: list[dict[str, Any]] = tenant.kube.get(KINDS, f"--namespace={tenant.namespace}")[
        "items"
    ]
    objects.append(tenant.kube.get("broker", tenant.place.broker))
    return {
        f"{each['kind']} {each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for each in objects
    }


def reconciled(tenant: Tenant) -> int:
    """How often the operator's log tells of it."""
    logs = tenant.kube.kubectl(
        "logs", f"deployment/{release.RELEASE}", f"--namespace={release.NAMESPACE}"
    )
    name = f'"{tenant.namespace}/work"'
    return sum(name in line and '"reconciled"' in line for line in logs.splitlines())


def test_a_second_reconcile_writes_nothing(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.declared(queue={"maxLength": 100}, deadLetter={"maxLength": 10})
    tenant.wait_for_condition("Ready", "True")
    tenant.kube.kubectl("annotate", "tq", "work", f"--namespace={tenant.namespace}", "touched=yes")
    seen: list[dict[str, str]] = [{}]

    def is_settled() -> bool:
        seen.append(versions(tenant))
        return seen[-1] == seen[-2]

    wait_for("the status is written", is_settled, every=2.0)
    asked, before = len(rabbitmq.asked_by_pods()), reconciled(tenant)

    # A new session makes the operator compare everything anew.
    for connection in rabbitmq.api("GET", "vhosts", VHOST, "connections"):
        if connection["user"] == rabbitmq.username:
            rabbitmq.answer("DELETE", "connections", connection["name"])

    wait_for("it is reconciled again", lambda: reconciled(tenant) > before, seconds=60)
    since = rabbitmq.asked_by_pods()[asked:]
    assert f"GET /api/policies/{VHOST}" in since, "RabbitMQ writes down what it is asked"
    assert [each for each in since if not each.startswith("GET ")] == []
    assert versions(tenant) == seen[-1]
