"""Orphans: processes that jobs left behind, adopted by their child and reaped once they have
ended."""

import contextlib
import os
from pathlib import Path

PATIENCE = 30.0
"""Seconds for which an ended process is left to the code that may have started it.

The kernel does not distinguish an adopted process from one that was started here. If we reap the
process of a library, its exit code is lost: a multiprocessing.Pool hangs, a Popen reports 0. Code
that looks after its processes waits for them much sooner.
"""


class Orphans:
    """Reaps ended processes for which no code has waited. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._seen: frozenset[tuple[int, str]] = frozenset()
        self._look_at = 0.0

    def bury(self, *, now: float) -> None:
        """Reap what had already ended at the last check, at least `PATIENCE` ago, and is still
        unreaped."""
        if now < self._look_at:
            return
        self._look_at = now + PATIENCE
        ended = _ended_children()
        for pid, _ in ended & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = ended


def _ended_children() -> frozenset[tuple[int, str]]:
    """Return the process ids of our zombies, with their start times, because ids are reused."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            for pid in (thread / "children").read_text().split():
                with contextlib.suppress(OSError):  # it has been reaped
                    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                    if fields[0] == "Z":
                        found.add((int(pid), fields[19]))
    return frozenset(found)
