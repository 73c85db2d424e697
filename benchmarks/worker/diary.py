"""When what happened inside a job, written by the job, read by the harness.

Times are `time.monotonic_ns()`, which is one clock for all processes of a machine.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DIARY_ENV = "BENCH_DIARY"
"""The file; each entry is one line."""

_PATIENCE = 0.001


@dataclass(frozen=True, slots=True)
class Entry:
    """`what` happened in job number `job` at `at` ns, in process `pid`."""

    what: str
    job: int
    pid: int
    at: int


def write(what: str, *, job: int) -> None:
    """Note `what`, with the time of this call."""
    now = time.monotonic_ns()
    line = json.dumps([what, job, os.getpid(), now]) + "\n"
    # O_APPEND: lines of several processes never mix.
    descriptor = os.open(os.environ[DIARY_ENV], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


class Diary:
    """The harness's end of it."""

    def __init__(self, path: Path, *, alive: Callable[[], None]) -> None:
        """`alive` raises once nobody is left to write."""
        self._path = path
        self._alive = alive

    def entries(self, what: str) -> list[Entry]:
        """All entries of this kind so far, in the order of their writing."""
        if not self._path.exists():
            return []
        lines = self._path.read_text().splitlines()
        return [
            entry for entry in (Entry(*json.loads(line)) for line in lines) if entry.what == what
        ]

    def await_entries(self, what: str, *, count: int, seconds: float) -> list[Entry]:
        """The entries once there are `count`. Raises TimeoutError, or what `alive` raises."""
        deadline = time.monotonic() + seconds
        while len(found := self.entries(what)) < count:
            self._alive()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} of {count} jobs {what} after {seconds:g} s")
            time.sleep(_PATIENCE)
        return found
