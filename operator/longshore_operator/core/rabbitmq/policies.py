"""Policies: all settings of a queue that can change while it exists.

Only the matching policy with the highest priority applies to a queue; policies do not merge.
`rosters.py` gives many queues the defaults; a queue that deviates from them gets a complete policy
of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longshore.contract.delays import LEVELS, level_name
from longshore.contract.features import Features
from longshore.contract.names import DEAD_EXCHANGE, LOST, dead_queue_name
from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import DeadLetter, Overflow, QueueType, TaskQueueSpec
from longshore_operator.api.v1alpha1 import Queue as QueueSpec

DELAY_POLICY = "longshore.delay"

LOST_RETENTION = 7 * 24 * 3600.0
"""Seconds for which a delayed job is kept if its queue has been deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """Settings for the queues whose names match `pattern`. Only the policy with the highest
    priority applies: policies do not merge."""

    name: str
    pattern: str
    priority: int
    definition: Mapping[str, Any]
    apply_to: str = "quorum_queues"


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """One of Longshore's policies that must not exist. A policy of this name with another pattern
    is not Longshore's."""

    name: str
    pattern: str

    def is_in(self, policies: Mapping[str, QueuePolicy]) -> bool:
        """Return whether it exists nevertheless."""
        found = policies.get(self.name)
        return found is not None and found.pattern == self.pattern


def shared_policies() -> tuple[QueuePolicy, ...]:
    """Return the policies of a whole vhost."""
    return (
        QueuePolicy(
            # It repeats the queues' arguments, so that no foreign policy for `.*` adds a limit.
            name=DELAY_POLICY,
            pattern=r"^longshore\.delay\.[0-9]+$",
            priority=_OWN_PRIORITY,
            definition={
                "dead-letter-strategy": "at-least-once",
                "overflow": "reject-publish",
            },
        ),
        QueuePolicy(
            name=LOST,
            pattern=r"^longshore\.lost$",
            priority=_OWN_PRIORITY,
            definition={"message-ttl": _milliseconds(LOST_RETENTION)},
        ),
    )


def shared_policies_in_force() -> dict[str, str]:
    """Return the policy that should apply to each queue that all TaskQueues share, by queue."""
    return {level_name(level): DELAY_POLICY for level in range(LEVELS)} | {LOST: LOST}


EARLIER_PATTERNS: Mapping[str, str] = {DELAY_POLICY: r"^longshore\.delay\."}
"""Patterns of earlier releases: a policy with one of them may be Longshore's."""


def own_policies(
    queue: str, spec: TaskQueueSpec, *, timeouts: Timeouts, features: Features
) -> tuple[tuple[QueuePolicy, ...], tuple[Absent, ...]]:
    """Return the policies for the queues of one TaskQueue only, and those that must not exist."""
    dead, source = dead_queue_name(queue), spec.queue.name or queue
    jobs = _jobs_definition(queue, spec, timeouts=timeouts, features=features)
    own = (
        _own_policy(source, jobs, key=queue, default=JOB_DEFAULTS, spec=spec),
        _own_policy(
            dead,
            _dead_definition(spec.dead_letter),
            key=dead,
            default=DEAD_DEFAULTS,
        ),
    )
    return (
        tuple(policy for policy in own if isinstance(policy, QueuePolicy)),
        tuple(policy for policy in own if isinstance(policy, Absent)),
    )


def own_policy_name(queue: str) -> str:
    """Return the name of the policy for a queue that deviates from the default."""
    return f"longshore.own.{queue}"


def own_absent(queue: str, *, source: str) -> tuple[Absent, Absent]:
    """Return the policies that must not exist once a TaskQueue has been removed: one for its job
    queue `source`, one for its dead letters."""
    dead = dead_queue_name(queue)
    return (
        Absent(name=own_policy_name(queue), pattern=_exactly(source)),
        Absent(name=own_policy_name(dead), pattern=_exactly(dead)),
    )


DEFAULT_PRIORITY = 1000
_OWN_PRIORITY = 2000

JOB_DEFAULTS: Mapping[str, Any] = {
    # At-least-once dead-lettering needs these three; if one is missing, RabbitMQ silently falls
    # back to at-most-once.
    "dead-letter-exchange": DEAD_EXCHANGE,
    "dead-letter-strategy": "at-least-once",
    "overflow": "reject-publish",
    "delivery-limit": QueueSpec().delivery_limit,
}


def _jobs_definition(
    queue: str, spec: TaskQueueSpec, *, timeouts: Timeouts, features: Features
) -> dict[str, Any]:
    definition: dict[str, Any] = dict(JOB_DEFAULTS) | {"delivery-limit": spec.queue.delivery_limit}
    if spec.queue.overflow is Overflow.DROP_HEAD:
        definition |= {"overflow": "drop-head", "dead-letter-strategy": "at-most-once"}
    if spec.queue.max_length is not None:
        definition["max-length"] = spec.queue.max_length
    if spec.queue.max_age is not None:
        definition["message-ttl"] = _milliseconds(spec.queue.max_age)
    if not features.ack_timeout_by_consumer:
        definition["consumer-timeout"] = _milliseconds(timeouts.ack_timeout)
    if spec.queue.name:
        # Its jobs may have arrived through any exchange, with any key.
        definition["dead-letter-routing-key"] = queue
    if spec.queue.type is QueueType.CLASSIC:
        # RabbitMQ ignores a whole policy if the queue's type does not support one of its keys.
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
) -> QueuePolicy | Absent:
    """Return a policy for this queue only, or its absence if the default is sufficient."""
    if definition == default:
        return Absent(name=own_policy_name(key), pattern=_exactly(queue))
    is_classic = spec is not None and spec.queue.type is QueueType.CLASSIC
    return QueuePolicy(
        name=own_policy_name(key),
        pattern=_exactly(queue),
        priority=_OWN_PRIORITY,
        definition=definition,
        apply_to="classic_queues" if is_classic else "quorum_queues",
    )


def _exactly(queue: str) -> str:
    # A hyphen has no meaning outside of brackets; escaped, it would only be harder to read.
    return f"^{re.escape(queue)}$".replace(r"\-", "-")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


DEAD_DEFAULTS: Mapping[str, Any] = _dead_definition(DeadLetter())
