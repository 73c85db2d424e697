"""Direct access to the interpreter's signals.

It bypasses replacements of functions in `signal` (gevent makes some), and avoids the enums into
which those convert every result, which takes a microsecond each.
"""

import _signal  # type: ignore[import-not-found]  # private, so typeshed leaves it out
import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

Disposition = Callable[[int, FrameType | None], Any] | int | None
"""A handler, `SIG_DFL`, `SIG_IGN`, or None for one that is not Python's."""

getsignal: Callable[[int], Disposition] = _signal.getsignal
"""The disposition of a signal."""


def setsignal(number: int, disposition: Disposition) -> None:
    """Set the disposition of a signal; None cannot be set and counts as `SIG_DFL`."""
    _signal.signal(number, int(signal.SIG_DFL) if disposition is None else disposition)


unblock_all: Callable[[], set[int]] = partial(_signal.pthread_sigmask, _signal.SIG_SETMASK, ())
"""Unblock all signals in this thread; returns those that were blocked."""


def stop_alarm() -> None:
    """Cancel the alarm that `signal.alarm` or `setitimer` has set."""
    _signal.setitimer(_signal.ITIMER_REAL, 0)
