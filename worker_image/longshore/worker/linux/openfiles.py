"""The limit on a worker's open descriptors: raised for the worker, unchanged for its jobs.

The parent needs five for each child, and a container's soft limit is often 1024 (containerd 2).
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from types import ModuleType

BASE = 64
"""Descriptors not used for children: for connections, the log, and metrics requests."""

PER_SLOT = 6
"""Descriptors for one child, and one in transit. A child that will replace it needs as many."""


class TooFew(OSError):
    """The limit on open files is too low for the slots; the message gives both numbers."""


class OpenFiles:
    """The limit of this process, as it was at first and as it is."""

    def __init__(self) -> None:
        self._resource = _without_trace("resource")
        self._kind: int = self._resource.RLIMIT_NOFILE
        self._before: tuple[int, int] = self._resource.getrlimit(self._kind)

    def raise_for(self, slots: int) -> None:
        """Raise the soft limit to what `slots` need, as far as the hard limit allows.

        Raises TooFew if that is not enough for one child in each slot.
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
        """Restore the original limit, for a process that runs jobs."""
        with contextlib.suppress(OSError, ValueError):
            self._resource.setrlimit(self._kind, self._before)

    def _is_infinite(self, limit: int) -> bool:
        return bool(limit == self._resource.RLIM_INFINITY)


def _without_trace(name: str) -> ModuleType:
    """Import a module, but leave no trace of the import.

    Children check for this import to see whether a job can have changed limits
    (`longshore.worker.child.state`).
    """
    was_imported = name in sys.modules
    module = importlib.import_module(name)
    if not was_imported:
        del sys.modules[name]
    return module
