"""The time in words, for lines of the log that are made by hand."""

from collections.abc import Callable
from datetime import UTC, datetime


class Stamp:
    """Gives the time as the log writes it; `now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = 0
        self._prefix = ""
        """The time of that second, in words: they take as long as all the rest of a line."""

    def __call__(self) -> str:
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._prefix}.{int(now % 1 * 1000):03d}+00:00"
