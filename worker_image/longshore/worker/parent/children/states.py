"""The states of a child, and what may follow what (docs/state_machine.md)."""

from collections.abc import Mapping
from enum import Enum, StrEnum, auto


class ChildState(Enum):
    """Where a child is in its life, as docs/state_machine.md draws it."""

    SERVING = auto()
    """Takes jobs."""

    RETIRING = auto()
    """Takes no more jobs, and is dismissed when it has none left: it keeps too much memory, or its
    output is lost."""

    DISMISSED = auto()
    """Has no jobs, was told that none come, and ends by itself."""

    BROKEN = auto()
    """Is about to be killed: what it says makes no sense, or its sockets are closed."""

    DYING = auto()
    """Is being killed."""

    DEAD = auto()
    """Its process has ended. Some of its records may be unread, and processes that it has started
    may be alive."""

    BURIED = auto()
    """Nothing is left of it."""


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
"""Which states may follow each one. An event that asks for another has come too late to matter."""


class Kill(StrEnum):
    """Why a child is killed; the label of `longshore_kills_total`."""

    HARD_LIMIT = "hard-limit"
    MEMORY_LIMIT = "memory-limit"
    DRAIN = "drain"
    DISMISSED = "dismissed"
    """It had no more jobs to come, and did not end by itself."""

    BROKEN = "broken"
    """It said what no child of ours says, or has lost its end: nothing it says can be believed."""
