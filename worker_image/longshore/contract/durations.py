"""Durations as people write them: `1h30m`, `90s`, `250ms`, as in Go and Kubernetes."""

import re
from datetime import timedelta
from typing import SupportsFloat

Span = float | str | timedelta
"""A duration as users pass it: seconds, a timedelta, or a string such as `"10m"`."""

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
"""The form of a duration; the CRD has the same pattern, and CEL's `duration()` reads the same."""

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Return the seconds in `text`. Raises ValueError if it is not a duration."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 15m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def seconds_in(span: object) -> float:
    """Return the seconds in `span`, which should be a `Span`. Every duration of the Python API is
    read here; the caller checks the range.

    Raises TypeError for another type, and ValueError for a string or a number that is not a
    duration.
    """
    if isinstance(span, timedelta):
        return span.total_seconds()
    if isinstance(span, str):
        return parse_duration(span)
    if not isinstance(span, SupportsFloat):
        raise TypeError(
            f"{span!r} is not a duration; pass seconds, a timedelta or a string like 90s"
        )
    try:
        return float(span)
    except OverflowError:
        raise ValueError("the number is too large for a duration") from None


def format_duration(seconds: float) -> str:
    """Return the shortest usual form of `seconds`, exact to the millisecond: 5400 is `1h30m`."""
    left = round(seconds * 1000)
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
