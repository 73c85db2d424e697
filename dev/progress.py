"""What a person sees while something takes long. Goes to stderr: stdout is for answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 15
WORTH_MENTIONING = 0.5


class Step:
    """One thing under way: a single updating line on a terminal, a line now and then elsewhere."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = self.spoke = time.monotonic()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def tick(self) -> None:
        if sys.stderr.isatty():
            print(f"\r  {self.title} … {self.elapsed:.0f} s", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.spoke >= SECONDS_BETWEEN_LINES:
            self.spoke = time.monotonic()
            print(f"  {self.title} … {self.elapsed:.0f} s", file=sys.stderr, flush=True)

    def done(self) -> None:
        start = "\r\033[K" if sys.stderr.isatty() else ""
        if self.elapsed >= WORTH_MENTIONING or start:
            print(f"{start}  {self.title}: {self.elapsed:.1f} s", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Report the time a step took, also when it fails."""
    under_way = Step(title)
    under_way.tick()
    try:
        yield under_way
    finally:
        under_way.done()
