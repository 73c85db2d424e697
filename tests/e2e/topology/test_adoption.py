"""Queues that were there before: reported, or taken over by their name, and never lost."""

from typing import Any

from dev.kube import wait_for
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import VHOST, RabbitMQ


def test_a_queue_that_was_there_before_is_taken_over_by_its_name(
    tenant: Tenant, rabbitmq: RabbitMQ
) -> None:
    name = f"celery-{tenant.namespace}"
    try:
        with rabbitmq.channel() as channel:
            arguments = {"x-queue-type": "classic", "x-max-priority": 10}
            channel.queue_declare(name, durable=True, arguments=arguments)
            rabbitmq.publish(channel, exchange="", key=name, text="older than Longshore")
        before = declaration(rabbitmq, name)

        tenant.declared(queue={"name": name, "type": "Classic"})
        with tenant.client() as client:
            client.enqueue(tenant.queue(), "note", text="by Longshore")

        wait_for("both are done", lambda: tenant.jobs().get("succeeded") == 2, seconds=60)
        said = tenant.wait_for_condition("Guaranteed", "False", reason="AdoptedQueue")["message"]
        assert "counts no deliveries" in said
        assert ("no ack timeout" in said) is rabbitmq.by_consumer
        tenant.remove("work")
        assert declaration(rabbitmq, name) == before
        assert any(name in each for each in tenant.events("QueueRetained"))
    finally:
        rabbitmq.answer("DELETE", "queues", VHOST, name)


def test_a_queue_with_other_arguments_is_reported_and_stays(
    tenant: Tenant, rabbitmq: RabbitMQ
) -> None:
    name = tenant.queue()
    with rabbitmq.channel() as channel:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 7}
        channel.queue_declare(name, durable=True, arguments=arguments)
        rabbitmq.publish(channel, exchange="", key=name, text="theirs")

    tenant.apply(deletionPolicy="Delete")

    found = tenant.wait_for_condition("QueueDeclared", "False", reason="QueueDiffers")
    assert name in found["message"]
    assert "x-delivery-limit" in found["message"]
    tenant.remove("work")
    assert rabbitmq.depth(name) == 1
    # The way out that the message names.
    tenant.declared("taken", queue={"name": name})
    wait_for("its job is done", lambda: tenant.jobs("taken").get("succeeded") == 1, seconds=60)
    rabbitmq.api("DELETE", "queues", VHOST, name)


def declaration(rabbitmq: RabbitMQ, name: str) -> dict[str, Any]:
    """What RabbitMQ was told when somebody declared the queue."""
    found = rabbitmq.api("GET", "queues", VHOST, name)
    return {key: found[key] for key in ("type", "durable", "arguments")}
