"""The time in words, for lines of the log that are made by hand."""

from collections.abc import Callable
from datetime import UTC, datetime


class Stamp:
    """Gives the time as the log writes it; `now` gives seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = self._millisecond = 0
        self._prefix = ""
        """The time of that second, in words: they take as long as all the rest of a line."""

        self._text = ""
        """The time of that millisecond: short jobs end by the dozen in one."""

    def __call__(self) -> str:
        millisecond = int(self._now() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, part = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._prefix = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
            self._text = f"{self._prefix}.{part:03d}+00:00"
        return self._text
