"""What must stand in RabbitMQ, as data: exchanges, queues, bindings, policies.

What can never change on a live queue is in its arguments; all that can is in policies.
"""

import re
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
    REPORTS_EXCHANGE,
    dead_queue_name,
    ending_with,
)
from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import DeadLetter, Overflow, QueueType, TaskQueueSpec
from longshore_operator.api.v1alpha1 import Queue as QueueSpec

DEFAULT_POLICY = "longshore.jobs"
DEFAULT_DEAD_POLICY = "longshore.dead"
DELAY_POLICY = "longshore.delay"

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
    """Settings for the queues whose name matches `pattern`. The highest priority wins whole:
    policies do not merge."""

    name: str
    pattern: str
    priority: int
    definition: Mapping[str, Any]
    apply_to: str = "quorum_queues"


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
            *(Exchange(name=level_name(level)) for level in levels),
        ),
        queues=(Queue(name=LOST), *map(_level_queue, levels)),
        bindings=(
            Binding(source=LOST, key="", destination=LOST),
            *(binding for level in levels for binding in _level_bindings(level)),
        ),
        policies=(
            Policy(
                name=DEFAULT_POLICY,
                pattern=rf"^{_LABEL}\.{_LABEL}$",
                priority=_DEFAULT_PRIORITY,
                definition=_JOBS,
            ),
            Policy(
                name=DEFAULT_DEAD_POLICY,
                pattern=rf"^{_LABEL}\.{_LABEL}\.dead$",
                priority=_DEFAULT_PRIORITY,
                definition=_dead_definition(DeadLetter()),
            ),
            Policy(
                # Says again what the queues' arguments say, so that no policy for `.*` of somebody
                # else's adds a limit of its own.
                name=DELAY_POLICY,
                pattern=r"^longshore\.delay\.",
                priority=_OWN_PRIORITY,
                definition={
                    "dead-letter-strategy": "at-least-once",
                    "overflow": "reject-publish",
                },
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
    """What one TaskQueue needs beside what it shares with the others.

    `queue` is its own name, by which jobs are addressed; `spec.queue.name` may say that another
    queue, which is there already, holds them.
    """
    dead, source = dead_queue_name(queue), spec.queue.name or queue
    jobs = _jobs_definition(queue, spec, timeouts=timeouts, features=features)
    own = (
        _own_policy(source, jobs, key=queue, default=_JOBS, spec=spec),
        _own_policy(
            dead,
            _dead_definition(spec.dead_letter),
            key=dead,
            default=_dead_definition(DeadLetter()),
        ),
    )
    return Topology(
        queues=(*([] if spec.queue.name else [Queue(name=queue)]), Queue(name=dead)),
        bindings=(*entry_bindings(queue, source=source), dead_binding(queue)),
        policies=tuple(policy for policy in own if isinstance(policy, Policy)),
        absent_policies=tuple(policy for policy in own if isinstance(policy, str)),
    )


def shared_policies_in_force() -> dict[str, str]:
    """The policy that each queue which all TaskQueues share should be under, by queue."""
    return {level_name(level): DELAY_POLICY for level in range(LEVELS)} | {LOST: LOST}


def in_words(topology: Topology) -> str:
    """Its objects, for people."""
    return ", ".join(
        (
            *(f"exchange {exchange.name}" for exchange in topology.exchanges),
            *(f"queue {queue.name}" for queue in topology.queues),
            *(f"binding {each.source} to {each.destination}" for each in topology.bindings),
            *(f"policy {policy.name}" for policy in topology.policies),
            *(f"policy {name}, which should not be" for name in topology.absent_policies),
        )
    )


def entry_bindings(queue: str, *, source: str | None = None) -> tuple[Binding, ...]:
    """The ways into the queue `source` that holds the jobs addressed to `queue`, its own name if
    None. Without them it is closed to new jobs."""
    holder = source or queue
    return (
        Binding(source=JOBS_EXCHANGE, key=queue, destination=holder),
        Binding(source=DUE_EXCHANGE, key=ending_with(queue), destination=holder),
    )


def dead_binding(queue: str) -> Binding:
    """The way of dead letters; the broker's own carry delay bits before the name."""
    return Binding(source=DEAD_EXCHANGE, key=ending_with(queue), destination=dead_queue_name(queue))


def policies_in_force(topology: Topology, *, queue: str, source: str) -> dict[str, str]:
    """The policy that each queue of a TaskQueue should be under, by queue."""
    own = {policy.name for policy in topology.policies}
    dead = dead_queue_name(queue)
    wanted = {source: (queue, DEFAULT_POLICY), dead: (dead, DEFAULT_DEAD_POLICY)}
    return {
        each: name if (name := own_policy_name(key)) in own else default
        for each, (key, default) in wanted.items()
    }


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
    "delivery-limit": QueueSpec().delivery_limit,
}


def _jobs_definition(
    queue: str, spec: TaskQueueSpec, *, timeouts: Timeouts, features: Features
) -> dict[str, Any]:
    definition: dict[str, Any] = dict(_JOBS) | {"delivery-limit": spec.queue.delivery_limit}
    if spec.queue.overflow is Overflow.DROP_HEAD:
        definition |= {"overflow": "drop-head", "dead-letter-strategy": "at-most-once"}
    if spec.queue.max_length is not None:
        definition["max-length"] = spec.queue.max_length
    if spec.queue.max_age is not None:
        definition["message-ttl"] = _milliseconds(spec.queue.max_age)
    if not features.ack_timeout_by_consumer:
        definition["consumer-timeout"] = _milliseconds(timeouts.ack_timeout)
    if spec.queue.name:
        # Its jobs may have come by any way, under any key.
        definition["dead-letter-routing-key"] = queue
    if spec.queue.type is QueueType.CLASSIC:
        # A policy with a key that the type does not know is passed over whole.
        definition = {key: each for key, each in definition.items() if key not in _QUORUM_ONLY}
    return definition


_QUORUM_ONLY = frozenset({"dead-letter-strategy", "delivery-limit"})


def _dead_definition(spec: DeadLetter) -> dict[str, Any]:
    definition: dict[str, Any] = {"message-ttl": _milliseconds(spec.retention)}
    if spec.max_length is not None:
        definition["max-length"] = spec.max_length
    return definition


def _own_policy(
    queue: str,
    definition: dict[str, Any],
    *,
    key: str,
    default: Mapping[str, Any],
    spec: TaskQueueSpec | None = None,
) -> Policy | str:
    """A policy for this queue alone, or only its name where the default does."""
    if definition == default:
        return own_policy_name(key)
    is_classic = spec is not None and spec.queue.type is QueueType.CLASSIC
    return Policy(
        name=own_policy_name(key),
        pattern=f"^{re.escape(queue)}$",
        priority=_OWN_PRIORITY,
        definition=definition,
        apply_to="classic_queues" if is_classic else "quorum_queues",
    )


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
