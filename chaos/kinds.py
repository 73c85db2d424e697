"""The kinds of jobs: what each does, how often it may run, and how it must end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

HARD_LIMIT = 2.0
"""Seconds that an `overrun` may run."""

KILL_GRACE = 1.0

MOST_ATTEMPTS = 20
"""Of a job that should succeed: far more than faults can interrupt it."""

SHORT_LIFE = 2
"""Attempts of a job that never succeeds."""


class Way(StrEnum):
    """How a handler leaves."""

    DONE = "done"
    FAILED = "failed"
    SNOOZED = "snoozed"
    INTERRUPTED = "interrupted"
    """By the worker: its delivery is lost, or the worker ends."""


class Queue(StrEnum):
    """The TaskQueues."""

    QUICK = "quick"
    SLOW = "slow"
    SKEWED = "skewed"
    """Its workers' clocks jump."""

    ADOPTED = "adopted"
    """A classic queue that was there before."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job. `weight` is its share of all jobs, `max_attempts` as its handler says."""

    queue: Queue
    weight: int
    handler: str = ""
    max_attempts: int = MOST_ATTEMPTS
    dies_of: tuple[str, ...] = ()
    """Reasons of its dead letter; none when it must succeed."""

    failures: int = 0
    """Attempts that fail before it succeeds."""

    snoozes: bool = False
    delay: tuple[float, float] = (0.0, 0.0)
    priority: int = 0
    is_foreign: bool = False
    """Published by a plain AMQP client, without an id."""

    never_returns: bool = False
    is_counted: bool = True
    """RabbitMQ counts its deliveries; of a classic queue it does not."""


KINDS = {
    "noop": Kind(queue=Queue.QUICK, weight=80),
    "brief": Kind(queue=Queue.QUICK, weight=15),
    "prints": Kind(queue=Queue.QUICK, weight=5),
    "spawns": Kind(queue=Queue.QUICK, weight=3),
    "twice": Kind(queue=Queue.QUICK, weight=6, failures=2),
    "snoozes": Kind(queue=Queue.QUICK, weight=4, snoozes=True),
    "delayed": Kind(queue=Queue.QUICK, weight=6, handler="noop", delay=(1.0, 20.0)),
    "urgent": Kind(queue=Queue.QUICK, weight=5, handler="noop", priority=9),
    "foreign": Kind(queue=Queue.QUICK, weight=5, handler="noop", is_foreign=True),
    "long": Kind(queue=Queue.SLOW, weight=3),
    "overrun": Kind(
        queue=Queue.SLOW,
        weight=1,
        max_attempts=SHORT_LIFE,
        dies_of=("hard-limit", "worker-lost"),
        never_returns=True,
    ),
    "crashes": Kind(queue=Queue.SLOW, weight=2, max_attempts=SHORT_LIFE, dies_of=("worker-lost",)),
    "skewed": Kind(queue=Queue.SKEWED, weight=3, handler="brief"),
    "classic": Kind(queue=Queue.ADOPTED, weight=5, handler="brief", is_counted=False),
}


def handler_of(name: str) -> str:
    """The handler that runs jobs of this kind."""
    return KINDS[name].handler or name
