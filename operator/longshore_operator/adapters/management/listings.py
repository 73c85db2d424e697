"""Reads objects as RabbitMQ's management API lists them."""

from collections.abc import Iterable, Mapping
from typing import Any

from longshore_operator.core.access.permissions import Permissions
from longshore_operator.core.rabbitmq.inventory import QueueState
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.topology import Binding, Exchange, QueueDefinition


def exchange_in(item: Mapping[str, Any]) -> Exchange:
    """Return the exchange in a listing's item."""
    return Exchange(
        name=item["name"],
        type=item["type"],
        arguments=item.get("arguments", {}),
        durable=bool(item.get("durable", True)),
        auto_delete=bool(item.get("auto_delete")),
        internal=bool(item.get("internal")),
    )


def queue_in(item: Mapping[str, Any]) -> QueueDefinition:
    """Return the definition with which a queue was declared."""
    arguments = dict(item.get("arguments", {}))
    named = arguments.pop("x-queue-type", "")
    return QueueDefinition(
        name=item["name"], type=str(item.get("type") or named), arguments=arguments
    )


def state_in(item: Mapping[str, Any]) -> QueueState:
    """Return the current state of a queue."""
    return QueueState(
        type=item.get("type", "classic"),
        is_durable=bool(item.get("durable")) and not item.get("exclusive"),
        is_auto_deleted=bool(item.get("auto_delete")),
        arguments=dict(item.get("arguments", {})),
        policy=item.get("policy") or None,
        answers=_answers(item),
    )


def _answers(item: Mapping[str, Any]) -> bool:
    members, online = item.get("members"), item.get("online")
    if members is None or online is None:  # a classic queue
        return item.get("state") not in ("down", "stopped", "crashed")
    return 2 * len(online) > len(members)


def binding_in(item: Mapping[str, Any]) -> Binding:
    """Return the binding in a listing's item."""
    return Binding(
        source=item["source"],
        key=item["routing_key"],
        destination=item["destination"],
        to=item["destination_type"],
    )


def policy_in(item: Mapping[str, Any]) -> QueuePolicy:
    """Return the policy in a listing's item."""
    return QueuePolicy(
        name=item["name"],
        pattern=item["pattern"],
        priority=item["priority"],
        definition=item["definition"],
        apply_to=item["apply-to"],
    )


def permissions_in(items: Iterable[Mapping[str, Any]], *, vhost: str) -> dict[str, Permissions]:
    """Return the rights in one vhost, by user."""
    return {
        item["user"]: Permissions(
            configure=item["configure"], write=item["write"], read=item["read"]
        )
        for item in items
        if item["vhost"] == vhost
    }
