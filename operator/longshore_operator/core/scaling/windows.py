"""Determines which windows hold now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from longshore_operator.api.v1alpha1 import ScalingWindow
from longshore_operator.core.cron import last_begin, next_begin
from longshore_operator.core.scaling.limits import Limit


def limits_at(windows: Sequence[ScalingWindow], now: datetime) -> tuple[Limit, ...]:
    """Return a limit for each window that holds at `now`, which has a time zone."""
    now = now.astimezone(UTC)
    return tuple(
        Limit(
            name=f"window {window.cron!r} ({window.time_zone})",
            floor=window.min,
            ceiling=window.max,
        )
        for window in windows
        if _holds(window, now)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Whether a window holds until the next change, so that nothing is computed before it."""

    since: datetime
    holds: bool
    until: datetime | None
    """None if the window does not begin again within 50 years."""


MOST_SPANS = 65_536
"""Windows whose current span is kept: those of 4,096 TaskQueues with 16 each."""

_spans: dict[tuple[str, str, float], _Span] = {}


def _holds(window: ScalingWindow, now: datetime) -> bool:
    key = (window.cron, window.time_zone, window.duration)
    span = _spans.get(key)
    if span is None or now < span.since or (span.until is not None and now >= span.until):
        _spans.pop(key, None)
        while len(_spans) >= MOST_SPANS:
            del _spans[next(iter(_spans))]
        span = _spans[key] = _span(*key, now)
    return span.holds


def _span(cron: str, time_zone: str, duration: float, now: datetime) -> _Span:
    minute, holding = now.replace(second=0, microsecond=0), timedelta(seconds=duration)
    # Only a begin whose window still holds matters. A search for the last one, however long ago,
    # takes milliseconds if it is rare: a fifth Tuesday in February was last in 2000.
    first = next_begin(cron, time_zone, now - holding)
    if first is None or first > now:
        return _Span(since=now, holds=False, until=first)
    begin = last_begin(cron, time_zone, minute)
    return _Span(since=now, holds=True, until=(begin or first) + holding)
