"""The states of a child, and the permitted transitions (docs/state_machine.md)."""

from collections.abc import Mapping
from enum import Enum, StrEnum, auto


class ChildState(Enum):
    """Where a child is in its life, as docs/state_machine.md draws it."""

    SERVING = auto()
    """Accepts jobs."""

    RETIRING = auto()
    """Accepts no more jobs, and is dismissed when it has none left, because it keeps too much
    memory or its output is lost."""

    DISMISSED = auto()
    """Has no jobs, was told that none will come, and ends by itself."""

    BROKEN = auto()
    """About to be killed, because its records are invalid or its sockets are closed."""

    DYING = auto()
    """Being killed."""

    DEAD = auto()
    """Its process has ended. Some of its records may be unread, and processes that it started may
    be alive."""

    BURIED = auto()
    """Nothing of it is left."""


TRANSITIONS: Mapping[ChildState, frozenset[ChildState]] = {
    ChildState.SERVING: frozenset(
        {
            ChildState.RETIRING,
            ChildState.DISMISSED,
            ChildState.BROKEN,
            ChildState.DYING,
            ChildState.DEAD,
        }
    ),
    ChildState.RETIRING: frozenset(
        {ChildState.DISMISSED, ChildState.BROKEN, ChildState.DYING, ChildState.DEAD}
    ),
    ChildState.DISMISSED: frozenset({ChildState.BROKEN, ChildState.DYING, ChildState.DEAD}),
    ChildState.BROKEN: frozenset({ChildState.DYING, ChildState.DEAD}),
    ChildState.DYING: frozenset({ChildState.DEAD}),
    ChildState.DEAD: frozenset({ChildState.BURIED}),
    ChildState.BURIED: frozenset(),
}
"""The states that may follow each state. An event that requires another one came too late."""


class Kill(StrEnum):
    """Why a child is killed; the label of `longshore_kills_total`."""

    HARD_LIMIT = "hard-limit"
    MEMORY_LIMIT = "memory-limit"
    DRAIN = "drain"
    DISMISSED = "dismissed"
    """It was dismissed, and did not end by itself."""

    BROKEN = "broken"
    """It sent an invalid record, or lost its end of a socket: its records cannot be trusted."""
