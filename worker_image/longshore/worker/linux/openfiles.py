"""How many descriptors a worker may have open: raised for itself, as before for its jobs.

The parent needs five for each child, and a container's soft limit is often 1024 (containerd 2).
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from types import ModuleType

BASE = 64
"""Descriptors beside those of children: connections, the log, those who ask for metrics."""

PER_SLOT = 6
"""Those of one child, and one that is passed on; a child that is to take its place has as many."""


class TooFew(OSError):
    """Fewer descriptors may be open than the slots need; the message names both."""


class OpenFiles:
    """The limit of this process, as it was and as it is."""

    def __init__(self) -> None:
        self._resource = _without_trace("resource")
        self._kind: int = self._resource.RLIMIT_NOFILE
        self._before: tuple[int, int] = self._resource.getrlimit(self._kind)

    def raise_for(self, slots: int) -> None:
        """Raise the soft limit to what `slots` need, as far as the hard one allows.

        Raises TooFew where that is too little for one child in each slot.
        """
        soft, hard = self._before
        enough, least = BASE + 2 * PER_SLOT * slots, BASE + PER_SLOT * slots
        if self._is_infinite(soft) or soft >= enough:
            return
        raised = enough if self._is_infinite(hard) else min(enough, hard)
        if raised > soft:
            with contextlib.suppress(OSError, ValueError):
                self._resource.setrlimit(self._kind, (raised, hard))
        allowed: int = self._resource.getrlimit(self._kind)[0]
        if not self._is_infinite(allowed) and allowed < least:
            raise TooFew(
                f"{slots} slots need {least} open files, but the limit is {allowed} (hard limit "
                f"{hard}): raise it (ulimit -n, the container runtime's LimitNOFILE) or set fewer "
                "slots"
            )

    def restore(self) -> None:
        """The limit as it was, for a process that runs jobs."""
        with contextlib.suppress(OSError, ValueError):
            self._resource.setrlimit(self._kind, self._before)

    def _is_infinite(self, limit: int) -> bool:
        return bool(limit == self._resource.RLIM_INFINITY)


def _without_trace(name: str) -> ModuleType:
    """A module that counts as not imported yet.

    Children tell by that whether a job can have changed limits (`longshore.worker.child.state`).
    """
    was_imported = name in sys.modules
    module = importlib.import_module(name)
    if not was_imported:
        del sys.modules[name]
    return module
