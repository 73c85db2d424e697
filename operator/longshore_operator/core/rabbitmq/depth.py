"""How full a queue is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The number of a queue's waiting jobs and of its consumers."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The queue does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What the leader of a quorum queue counted at some time, possibly long ago."""

    consumers: int
    jobs: int
    """All jobs in the queue: ready, unacked, and on their way to the dead letters."""
