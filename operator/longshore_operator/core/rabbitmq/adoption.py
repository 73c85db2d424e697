"""Adoption of existing queues: which may be taken over, and what cannot be guaranteed on them."""

import re

from longshore.contract.features import Features
from longshore_operator.api.v1alpha1 import QueueType
from longshore_operator.core.rabbitmq.inventory import QueueState

_TENANTS = re.compile(r"([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\..+")
_RESERVED = ("longshore.", "amq.")


def reserved(name: str, *, namespace: str) -> str | None:
    """Return why a TaskQueue of `namespace` must not take over a queue of this name; None if it
    may.

    Longshore's own queues are named NAMESPACE.NAME. A name that looks like that of another
    namespace is reserved for it, whether such a namespace exists or not.
    """
    if name.startswith(_RESERVED):
        return f"queue {name!r} is reserved, as are all names that begin with longshore. or amq."
    match = _TENANTS.fullmatch(name)
    if match and match[1] != namespace:
        return f"queue {name!r} belongs to namespace {match[1]!r} by its name"
    return None


def unfit(name: str, state: QueueState, *, type: QueueType) -> str | None:
    """Return why a queue cannot be taken over as one of `type`; None if it can."""
    if state.type != type.value.lower():
        return (
            f"queue {name!r} is a {state.type} queue, but spec.queue.type says {type.value}; the "
            "type cannot be changed: create a new TaskQueue with the right type"
        )
    if not state.is_durable or state.is_auto_deleted:
        return f"queue {name!r} is not durable, or is exclusive or auto-delete: jobs would be lost"
    return None


def shortcomings(name: str, state: QueueState, *, features: Features) -> tuple[str, ...]:
    """Describe what Longshore guarantees on other queues, but cannot guarantee on this one."""
    found = [_OF_ARGUMENTS[key] for key in _OF_ARGUMENTS if key in state.arguments]
    if state.type == "classic":
        found.append(
            "a classic queue counts no deliveries: a job that kills its worker is retried forever"
        )
        found.append("dead letters can be lost while RabbitMQ moves them")
        found.append("it has no replicas")
        if features.ack_timeout_by_consumer:
            found.append(
                "RabbitMQ 4.3 has no ack timeout for it: a worker that hangs keeps its jobs"
            )
        if "x-max-priority" not in state.arguments:
            found.append("it has no priorities")
    return tuple(found)


_OF_ARGUMENTS = {
    "x-expires": "RabbitMQ deletes it with its jobs when it has not been used for a while",
    "x-dead-letter-exchange": "its argument x-dead-letter-exchange sends dead letters elsewhere",
    "x-message-ttl": "its argument x-message-ttl makes jobs expire",
    "x-max-length": "its argument x-max-length limits its length",
    "x-max-length-bytes": "its argument x-max-length-bytes limits its size",
    "x-single-active-consumer": "only one worker at a time gets jobs, the others wait",
}
