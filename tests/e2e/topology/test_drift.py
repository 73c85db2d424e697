"""What somebody deletes in RabbitMQ is back within 10 s, and an Event names it."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dev.errors import NotReady
from dev.kube import wait_for
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import RabbitMQ

WITHIN = 10.0
ONE, OTHER = "one", "other"
PAUSED = {"scaling": {"paused": True}, "queue": {"maxLength": 100}}


def test_what_was_deleted_is_back_within_ten_seconds(apart: tuple[Tenant, RabbitMQ]) -> None:
    tenant, rabbitmq = apart
    vhost = rabbitmq.vhost
    tenant.apply(ONE, **PAUSED)
    tenant.apply(OTHER, **PAUSED)
    tenant.wait_until_declared(ONE, OTHER)
    one, other = tenant.queue(ONE), tenant.queue(OTHER)
    binding = ("bindings", vhost, "e", JOBS_EXCHANGE, "q", other)
    (way,) = rabbitmq.api("GET", *binding)
    before = standing(tenant, rabbitmq)

    rabbitmq.api("DELETE", "exchanges", vhost, DEAD_EXCHANGE)
    rabbitmq.api("DELETE", "queues", vhost, one)
    rabbitmq.api("DELETE", "users", f"{vhost}.{one}.worker")
    rabbitmq.api("DELETE", "permissions", vhost, f"{vhost}.{one}.producer")
    rabbitmq.api("DELETE", *binding, way["properties_key"])
    rabbitmq.api("DELETE", "policies", vhost, f"longshore.own.{other}")
    harmed_at = looked_at = time.monotonic()

    def is_back() -> bool:
        nonlocal looked_at
        looked_at = time.monotonic()
        return standing(tenant, rabbitmq) == before

    # All may be back before the first look; that each was missing is what the Events say.
    wait_for("all is back", is_back, seconds=30)
    assert looked_at - harmed_at <= WITHIN
    told(tenant, f"queue {one}", f"user {vhost}.{one}.worker", f"user {vhost}.{one}.producer")
    told(tenant, f"binding {JOBS_EXCHANGE} to", f"policy longshore.own.{other}")
    told(tenant, DEAD_EXCHANGE, namespace="default")


def told(tenant: Tenant, *words: str, namespace: str | None = None) -> None:
    """Wait until Events say all of this."""
    said = ""

    def look() -> bool:
        nonlocal said
        said = " ".join(tenant.events("DriftRepaired", namespace=namespace))
        return all(word in said for word in words)

    with suppress(NotReady):
        wait_for("Events", look, seconds=20)
    assert [word for word in words if word not in said] == [], said


def standing(tenant: Tenant, rabbitmq: RabbitMQ) -> dict[str, Any]:
    """All that stands in RabbitMQ for the tenant's TaskQueues, and what they share."""
    ours = (
        tenant.namespace,
        f"{rabbitmq.vhost}.{tenant.namespace}",
        f"longshore.own.{tenant.namespace}",
    )

    def some(*path: str, key: Callable[[dict[str, Any]], tuple[str, ...]]) -> set[tuple[str, ...]]:
        found = [key(each) for each in rabbitmq.api("GET", *path)]
        return {names for names in found if any(name.startswith(ours) for name in names)}

    return {
        "queues": some("queues", rabbitmq.vhost, key=lambda each: (each["name"],)),
        "exchanges": {DEAD_EXCHANGE} & rabbitmq.names("exchanges", rabbitmq.vhost),
        "bindings": some(
            "bindings",
            rabbitmq.vhost,
            key=lambda each: (each["destination"], each["source"], each["routing_key"]),
        ),
        "policies": some(
            "policies", rabbitmq.vhost, key=lambda each: (each["name"], each["pattern"])
        ),
        "users": some("users", key=lambda each: (each["name"],)),
        "rights": some(
            "vhosts",
            rabbitmq.vhost,
            "permissions",
            key=lambda each: (each["user"], each["configure"], each["write"], each["read"]),
        ),
        "keys": some(
            "vhosts",
            rabbitmq.vhost,
            "topic-permissions",
            key=lambda each: (each["user"], each["exchange"], each["write"], each["read"]),
        ),
    }
