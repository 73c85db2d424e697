"""What the operator declares, declared by hand for tests without an operator."""

from __future__ import annotations

from pika.adapters.blocking_connection import BlockingChannel

from longshore.contract.names import dead_queue_name
from longshore_operator.core.rabbitmq.topology import (
    QueueDefinition,
    Topology,
    dead_binding,
    entry_bindings,
    vhost_topology,
)


def declare_vhost(channel: BlockingChannel) -> None:
    """Exchanges and the delay ladder."""
    _declare(channel, vhost_topology())


def declare_queue(channel: BlockingChannel, queue: str) -> None:
    """A job queue and its dead letters."""
    _declare(
        channel,
        Topology(queues=queues_of(queue), bindings=(*entry_bindings(queue), dead_binding(queue))),
    )


def queues_of(queue: str) -> tuple[QueueDefinition, QueueDefinition]:
    """The job queue and that of its dead letters."""
    return QueueDefinition(name=queue), QueueDefinition(name=dead_queue_name(queue))


def _declare(channel: BlockingChannel, topology: Topology) -> None:
    for exchange in topology.exchanges:
        channel.exchange_declare(
            exchange.name, exchange.type, durable=True, arguments=dict(exchange.arguments)
        )
    for queue in topology.queues:
        arguments = {"x-queue-type": "quorum", **queue.arguments}
        channel.queue_declare(queue.name, durable=True, arguments=arguments)
    for binding in topology.bindings:
        bind = channel.queue_bind if binding.to == "queue" else channel.exchange_bind
        bind(binding.destination, binding.source, binding.key)
