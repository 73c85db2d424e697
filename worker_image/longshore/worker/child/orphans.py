"""Orphans: what jobs left behind, adopted by their child and buried there once it has ended."""

import contextlib
import os
from pathlib import Path

PATIENCE = 30.0
"""Seconds that an ended process is left for whoever may have started it.

The kernel does not tell an adopted process from one of our own, and a library loses the exit code
of its own for ever if we take it: a multiprocessing.Pool hangs, a Popen claims 0. Whoever looks
after a process waits for it long before.
"""


class Orphans:
    """Reaps ended processes that nobody has waited for. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._seen: frozenset[tuple[int, str]] = frozenset()
        self._look_at = 0.0

    def bury(self, *, now: float) -> None:
        """Reap what had ended by the last look, which was `PATIENCE` ago, and still waits."""
        if now < self._look_at:
            return
        self._look_at = now + PATIENCE
        ended = _ended_children()
        for pid, _ in ended & self._seen:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._seen = ended


def _ended_children() -> frozenset[tuple[int, str]]:
    """Process ids of our zombies, with their start, as ids are used again."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            for pid in (thread / "children").read_text().split():
                with contextlib.suppress(OSError):  # somebody has waited for it
                    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                    if fields[0] == "Z":
                        found.add((int(pid), fields[19]))
    return frozenset(found)
