"""Taking over a queue that is there already: which may be, and what cannot be promised on it."""

import re

from longshore.contract.features import Features
from longshore_operator.api.v1alpha1 import QueueType
from longshore_operator.core.rabbitmq.inventory import QueueState

_TENANTS = re.compile(r"([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\..+")
_RESERVED = ("longshore.", "amq.")


def reserved(name: str, *, namespace: str) -> str | None:
    """Why a TaskQueue of `namespace` must not take over a queue of this name; None if it may.

    Longshore's own queues are called NAMESPACE.NAME: what looks like another namespace's is taken
    for one, whether such a namespace is there today or not.
    """
    if name.startswith(_RESERVED):
        return f"queue {name!r} is one of {name.partition('.')[0]}'s own"
    match = _TENANTS.fullmatch(name)
    if match and match[1] != namespace:
        return f"queue {name!r} belongs to namespace {match[1]!r} by its name"
    return None


def unfit(name: str, state: QueueState, *, type: QueueType) -> str | None:
    """Why a queue cannot be taken over as one of `type`; None if it can."""
    if state.type != type.value.lower():
        return (
            f"queue {name!r} is a {state.type} queue, but spec.queue.type says {type.value}; the "
            "type cannot be changed: make a new TaskQueue with the right one"
        )
    if not state.is_durable or state.is_auto_deleted:
        return f"queue {name!r} does not outlive RabbitMQ or its consumers: jobs would be lost"
    return None


def shortcomings(name: str, state: QueueState, *, features: Features) -> tuple[str, ...]:
    """What Longshore promises elsewhere but cannot on this queue, in words."""
    found = [_OF_ARGUMENTS[key] for key in _OF_ARGUMENTS if key in state.arguments]
    if state.type == "classic":
        found.append(
            "a classic queue counts no deliveries: a job that kills its worker is tried for ever"
        )
        found.append("its dead letters can be lost while RabbitMQ moves them, and it has one copy")
        if features.ack_timeout_by_consumer:
            found.append(
                "RabbitMQ 4.3 has no ack timeout for it: a worker that hangs keeps its jobs"
            )
        if "x-max-priority" not in state.arguments:
            found.append("it has no priorities")
    return tuple(found)


_OF_ARGUMENTS = {
    "x-expires": "RabbitMQ deletes it with its jobs when nobody has used it for a while",
    "x-dead-letter-exchange": "its own argument sends dead letters elsewhere",
    "x-message-ttl": "jobs expire by its own argument",
    "x-max-length": "its own argument limits its length",
    "x-max-length-bytes": "its own argument limits its size",
    "x-single-active-consumer": "one worker at a time gets jobs, the others wait",
}
