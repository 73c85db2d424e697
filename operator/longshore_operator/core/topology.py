"""What must stand in RabbitMQ, as data: exchanges, queues, bindings, policies.

What can never change on a live queue is in its arguments; all that can is in policies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longshore.contract.delays import LEVELS, binding_key, level_name, next_exchange
from longshore.contract.features import Features
from longshore.contract.names import (
    DEAD_EXCHANGE,
    DUE_EXCHANGE,
    JOBS_EXCHANGE,
    LOST,
    ORDERS_EXCHANGE,
    REPORTS_EXCHANGE,
    dead_queue_name,
    ending_with,
)
from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import DeadLetter, TaskQueueSpec

DELIVERY_LIMIT = 100
"""Deliveries after which RabbitMQ itself gives up on a job. A backstop: workers count attempts, and
lost deliveries with them, and `retry.maxAttempts` is 100 at most."""

LOST_RETENTION = 7 * 24 * 3600.0
"""Seconds that a delayed job is kept whose queue is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: Literal["topic", "fanout"] = "topic"
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A quorum queue."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Beside `x-queue-type`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """From an exchange to a queue, or to another exchange."""

    source: str
    key: str
    destination: str
    to: Literal["queue", "exchange"] = "queue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Settings for the quorum queues whose name matches `pattern`. The highest priority wins whole:
    policies do not merge."""

    name: str
    pattern: str
    priority: int
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Objects of one vhost that belong together."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()
    policies: tuple[Policy, ...] = ()
    absent_policies: tuple[str, ...] = ()
    """Names of policies that must not be there any more."""


def vhost_topology() -> Topology:
    """What all TaskQueues of a Broker share."""
    levels = range(LEVELS)
    return Topology(
        exchanges=(
            Exchange(name=JOBS_EXCHANGE),
            Exchange(name=DUE_EXCHANGE, arguments={"alternate-exchange": LOST}),
            Exchange(name=LOST, type="fanout"),
            Exchange(name=DEAD_EXCHANGE),
            Exchange(name=REPORTS_EXCHANGE),
            Exchange(name=ORDERS_EXCHANGE),
            *(Exchange(name=level_name(level)) for level in levels),
        ),
        queues=(Queue(name=LOST), *map(_level_queue, levels)),
        bindings=(
            Binding(source=LOST, key="", destination=LOST),
            *(binding for level in levels for binding in _level_bindings(level)),
        ),
        policies=(
            Policy(
                name="longshore.jobs",
                pattern=rf"^{_LABEL}\.{_LABEL}$",
                priority=_DEFAULT_PRIORITY,
                definition=_JOBS,
            ),
            Policy(
                name="longshore.dead",
                pattern=rf"^{_LABEL}\.{_LABEL}\.dead$",
                priority=_DEFAULT_PRIORITY,
                definition=_dead_definition(DeadLetter()),
            ),
            Policy(
                name=LOST,
                pattern=r"^longshore\.lost$",
                priority=_OWN_PRIORITY,
                definition={"message-ttl": _milliseconds(LOST_RETENTION)},
            ),
        ),
    )


def task_queue_topology(
    *, queue: str, spec: TaskQueueSpec, timeouts: Timeouts, features: Features
) -> Topology:
    """What one TaskQueue needs beside what it shares with the others."""
    dead = dead_queue_name(queue)
    own = (
        _own_policy(
            queue, _jobs_definition(spec, timeouts=timeouts, features=features), default=_JOBS
        ),
        _own_policy(
            dead, _dead_definition(spec.dead_letter), default=_dead_definition(DeadLetter())
        ),
    )
    return Topology(
        queues=(Queue(name=queue), Queue(name=dead)),
        bindings=(*entry_bindings(queue), dead_binding(queue)),
        policies=tuple(policy for policy in own if isinstance(policy, Policy)),
        absent_policies=tuple(policy for policy in own if isinstance(policy, str)),
    )


def entry_bindings(queue: str) -> tuple[Binding, ...]:
    """The ways into a job queue. Without them it is closed to new jobs."""
    return (
        Binding(source=JOBS_EXCHANGE, key=queue, destination=queue),
        Binding(source=DUE_EXCHANGE, key=ending_with(queue), destination=queue),
    )


def dead_binding(queue: str) -> Binding:
    """The way of dead letters; the broker's own carry delay bits before the name."""
    return Binding(source=DEAD_EXCHANGE, key=ending_with(queue), destination=dead_queue_name(queue))


def own_policy_name(queue: str) -> str:
    """The policy of a queue that deviates from the default."""
    return f"longshore.own.{queue}"


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DEFAULT_PRIORITY = 1000
_OWN_PRIORITY = 2000

_JOBS = {
    # At-least-once dead-lettering needs all three; with one missing RabbitMQ silently makes it
    # at-most-once.
    "dead-letter-exchange": DEAD_EXCHANGE,
    "dead-letter-strategy": "at-least-once",
    "overflow": "reject-publish",
    "delivery-limit": DELIVERY_LIMIT,
}


def _jobs_definition(
    spec: TaskQueueSpec, *, timeouts: Timeouts, features: Features
) -> dict[str, Any]:
    definition: dict[str, Any] = dict(_JOBS)
    if spec.queue.max_length is not None:
        definition["max-length"] = spec.queue.max_length
    if spec.queue.max_age is not None:
        definition["message-ttl"] = _milliseconds(spec.queue.max_age)
    if not features.ack_timeout_by_consumer:
        definition["consumer-timeout"] = _milliseconds(timeouts.ack_timeout)
    return definition


def _dead_definition(spec: DeadLetter) -> dict[str, Any]:
    definition: dict[str, Any] = {"message-ttl": _milliseconds(spec.retention)}
    if spec.max_length is not None:
        definition["max-length"] = spec.max_length
    return definition


def _own_policy(
    queue: str, definition: dict[str, Any], *, default: Mapping[str, Any]
) -> Policy | str:
    """A policy for this queue alone, or only its name where the default does."""
    if definition == default:
        return own_policy_name(queue)
    return Policy(
        name=own_policy_name(queue),
        pattern=_exactly(queue),
        priority=_OWN_PRIORITY,
        definition=definition,
    )


def _exactly(queue: str) -> str:
    return "^" + queue.replace(".", r"\.") + "$"


def _level_queue(level: int) -> Queue:
    return Queue(
        name=level_name(level),
        arguments={
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": next_exchange(level),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )


def _level_bindings(level: int) -> tuple[Binding, Binding]:
    name = level_name(level)
    return (
        Binding(source=name, key=binding_key(level, bit=1), destination=name),
        Binding(
            source=name,
            key=binding_key(level, bit=0),
            destination=next_exchange(level),
            to="exchange",
        ),
    )


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
