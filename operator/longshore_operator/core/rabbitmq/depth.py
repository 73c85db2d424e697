"""How full a queue is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A queue's jobs that wait, and its consumers."""

    ready: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The queue is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a quorum queue's leader counted at one moment, which may be long ago."""

    consumers: int
    jobs: int
    """All that are in the queue: ready, unacked, and on their way to the dead letters."""
