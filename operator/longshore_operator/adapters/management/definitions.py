"""RabbitMQ's import of definitions, which creates many objects with one request.

With a request for each object, a TaskQueue takes sixteen, and a thousand TaskQueues kept the
operator busy for minutes. An import costs RabbitMQ 65 ms of CPU, and 14 ms more for each TaskQueue,
most of it for the two quorum queues (4.3.6).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longshore_operator.core.access.permissions import User
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.topology import Exchange, Topology

Definitions = Mapping[str, Sequence[Mapping[str, Any]]]
"""Lists of objects by kind, as RabbitMQ exports them."""


def topology_definitions(topology: Topology, *, vhost: str) -> Definitions:
    """Return the definitions of everything in `topology` that should exist."""
    return {
        "policies": [
            {"vhost": vhost, "name": policy.name, **policy_body(policy)}
            for policy in topology.policies
        ],
        "exchanges": [
            {"vhost": vhost, "name": exchange.name, **exchange_body(exchange)}
            for exchange in topology.exchanges
        ],
        "queues": [
            {
                "vhost": vhost,
                "name": queue.name,
                "durable": True,
                "auto_delete": False,
                "arguments": dict(queue.declared),
            }
            for queue in topology.queues
        ],
        "bindings": [
            {
                "vhost": vhost,
                "source": binding.source,
                "destination": binding.destination,
                "destination_type": binding.to,
                "routing_key": binding.key,
                "arguments": {},
            }
            for binding in topology.bindings
        ],
    }


def policy_body(policy: QueuePolicy) -> dict[str, Any]:
    """Return everything of a policy except its name."""
    return {
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "priority": policy.priority,
        "definition": dict(policy.definition),
    }


def exchange_body(exchange: Exchange) -> dict[str, Any]:
    """Return everything of an exchange except its name."""
    return {
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.arguments),
    }


def user_definitions(user: User, *, password_hash: str, vhost: str) -> Definitions:
    """Return a user with all its rights. Its password is not known to anyone yet, so their order
    does not matter."""
    rights = user.permissions
    return {
        "users": [
            {
                "name": user.name,
                "password_hash": password_hash,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
        ],
        "permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "configure": rights.configure,
                "write": rights.write,
                "read": rights.read,
            }
        ],
        "topic_permissions": [
            {
                "user": user.name,
                "vhost": vhost,
                "exchange": exchange,
                "write": keys.write,
                "read": keys.read,
            }
            for exchange, keys in user.topics
        ],
    }


def merged_definitions(parts: Iterable[Definitions]) -> Definitions:
    """Return all objects of all parts, by kind."""
    whole: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        for kind, objects in part.items():
            whole.setdefault(kind, []).extend(objects)
    return whole
