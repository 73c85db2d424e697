"""Every setting that may change takes effect on a queue with jobs in it."""

import json
import re
from typing import Any

import pytest
from pika.exceptions import NackError

from dev.kube import wait_for
from longshore.contract.names import (
    JOBS_EXCHANGE,
    WORKER_CONFIG_ENV,
    dead_queue_name,
)
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import VHOST, RabbitMQ

PAUSED: dict[str, Any] = {"scaling": {"paused": True}}


def test_settings_change_on_a_queue_with_jobs_in_it(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.declared(**PAUSED)
    enqueue(tenant, rabbitmq, count=3)

    length_and_overflow(tenant, rabbitmq)
    ages(tenant, rabbitmq)
    deliveries_and_ack_timeout(tenant, rabbitmq)
    a_foreign_policy_is_named(tenant, rabbitmq)


def length_and_overflow(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.declared(**PAUSED, queue={"maxLength": 3})
    with pytest.raises(NackError):
        enqueue(tenant, rabbitmq, count=20)

    tenant.declared(**PAUSED, queue={"maxLength": 2, "overflow": "DropHead"})
    wait_for_jobs(tenant, rabbitmq, ready=2)
    wait_for("dead letters", lambda: dead(tenant, rabbitmq))


def ages(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    """They hold for what comes after the change: the jobs that were there make room for it."""
    tenant.declared(
        **PAUSED,
        queue={"maxLength": 2, "overflow": "DropHead", "maxAge": "100ms"},
        deadLetter={"maxLength": 1, "retention": "100ms"},
    )
    wait_for("one dead letter", lambda: dead(tenant, rabbitmq) == 1)

    enqueue(tenant, rabbitmq, count=2)

    wait_for_jobs(tenant, rabbitmq, ready=0)
    wait_for("no dead letter", lambda: dead(tenant, rabbitmq) == 0)


def deliveries_and_ack_timeout(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.declared(**PAUSED)
    enqueue(tenant, rabbitmq, count=2)

    tenant.declared(
        **PAUSED,
        queue={"deliveryLimit": 1},
        retry={"maxAttempts": 1},
        timeLimit={"hard": "1h"},
    )

    with rabbitmq.channel() as channel:
        for _ in range(2):
            method, _, _ = channel.basic_get(tenant.queue())
            channel.basic_reject(method.delivery_tag, requeue=True)
        wait_for("it is dead after its second delivery", lambda: dead(tenant, rabbitmq) == 1)
    wait_for_jobs(tenant, rabbitmq, ready=1)
    own = rabbitmq.api("GET", "policies", VHOST, f"longshore.own.{tenant.queue()}")["definition"]
    assert own["delivery-limit"] == 1
    by_policy = own.get("consumer-timeout")
    by_worker = worker_config(tenant)["ack_timeout"]
    if rabbitmq.by_consumer:
        assert (by_policy, by_worker) == (None, "1h2m5s")
    else:
        assert by_policy == (3600 + 5 + 120 + 60) * 1000


def a_foreign_policy_is_named(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    name = f"theirs-{tenant.namespace}"
    pattern = f"^{re.escape(tenant.queue())}$"
    rabbitmq.api(
        "PUT", "policies", VHOST, name,
        **{"pattern": pattern, "priority": 9000, "definition": {"max-length": 7}},
    )  # fmt: skip
    try:
        found = tenant.wait_for_condition("PolicyInForce", "False", reason="ForeignPolicy")
        assert name in found["message"]
        assert name in rabbitmq.names("policies", VHOST), "it is told of, not fought"
    finally:
        rabbitmq.api("DELETE", "policies", VHOST, name)


def enqueue(tenant: Tenant, rabbitmq: RabbitMQ, *, count: int) -> None:
    with rabbitmq.channel() as channel:
        for _ in range(count):
            rabbitmq.publish(channel, exchange=JOBS_EXCHANGE, key=tenant.queue())


def wait_for_jobs(tenant: Tenant, rabbitmq: RabbitMQ, *, ready: int) -> None:
    wait_for(f"{ready} jobs", lambda: rabbitmq.depth(tenant.queue()) == ready, seconds=30)


def dead(tenant: Tenant, rabbitmq: RabbitMQ) -> int | None:
    return rabbitmq.depth(dead_queue_name(tenant.queue()))


def worker_config(tenant: Tenant) -> dict[str, object]:
    found = tenant.kube.get("deployment", "work-worker", f"--namespace={tenant.namespace}")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    (text,) = [each["value"] for each in container["env"] if each["name"] == WORKER_CONFIG_ENV]
    config: dict[str, object] = json.loads(text)
    return config
