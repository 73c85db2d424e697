"""Which schedules hold now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from longshore_operator.api.v1alpha1 import Schedule
from longshore_operator.core.scaling.limits import Limit


def limits_at(schedules: Sequence[Schedule], now: datetime) -> tuple[Limit, ...]:
    """A limit for each schedule that holds at `now`, which has a time zone."""
    now = now.astimezone(UTC)
    return tuple(
        Limit(
            name=f"schedule {schedule.cron!r} ({schedule.time_zone})",
            floor=schedule.min,
            ceiling=schedule.max,
        )
        for schedule in schedules
        if _holds(schedule, now)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """What holds from one change to the next, so that nothing is reckoned before it."""

    since: datetime
    holds: bool
    until: datetime | None
    """None where the schedule never begins again within 50 years."""


MOST_SPANS = 65_536
"""Schedules of which the present span is kept; those of 4,096 TaskQueues with 16 each."""

_spans: dict[tuple[str, str, float], _Span] = {}


def _holds(schedule: Schedule, now: datetime) -> bool:
    key = (schedule.cron, schedule.time_zone, schedule.duration)
    span = _spans.get(key)
    if span is None or now < span.since or (span.until is not None and now >= span.until):
        _spans.pop(key, None)
        while len(_spans) >= MOST_SPANS:
            del _spans[next(iter(_spans))]
        span = _spans[key] = _span(*key, now)
    return span.holds


def _span(cron: str, time_zone: str, duration: float, now: datetime) -> _Span:
    minute, holding = now.replace(second=0, microsecond=0), timedelta(seconds=duration)
    # Only a begin that still holds matters. To look for the last one however long ago costs
    # milliseconds where it is rare: a fifth Tuesday in February was last in 2000.
    first = next_begin(cron, time_zone, now - holding)
    if first is None or first > now:
        return _Span(since=now, holds=False, until=first)
    begin = last_begin(cron, time_zone, minute)
    return _Span(since=now, holds=True, until=(begin or first) + holding)


def next_begin(cron: str, time_zone: str, after: datetime) -> datetime | None:
    """When `cron` comes due first after a moment, in UTC. None when it never does within 50
    years."""
    zone = ZoneInfo(time_zone)
    # From before a change of clocks: begun inside the hour that autumn repeats, what came due in
    # its first pass would come due again.
    start = after
    around = [(after + change).astimezone(zone) for change in (-_LONGEST_CHANGE, _LONGEST_CHANGE)]
    if len({each.utcoffset() for each in around}) > 1:
        start = after - _LONGEST_CHANGE
    for local in CronSim(cron, start.astimezone(zone)):
        found = local.astimezone(UTC)
        if found > after:
            return found
    return None


def last_begin(cron: str, time_zone: str, minute: datetime) -> datetime | None:
    """When `cron` came due last, `minute` included, in UTC, so that durations are real time
    whatever the clocks do. None when it never did within 50 years."""
    zone = ZoneInfo(time_zone)
    around = [(minute + change).astimezone(zone) for change in (-_LONGEST_CHANGE, _LONGEST_CHANGE)]
    later = (minute + _STEP).astimezone(zone)
    if len({each.utcoffset() for each in around}) > 1:
        # From beyond the change of clocks: begun inside the hour that autumn repeats, cronsim 2.8
        # going backwards leaves out what came due in its first pass. Elsewhere that would only
        # cost: 1.8 ms for an expression that comes due each minute.
        later = around[1]
    for local in CronSim(cron, later, reverse=True):
        found = local.astimezone(UTC)
        if found <= minute:
            return found
    return None


_STEP = timedelta(minutes=1)
_LONGEST_CHANGE = timedelta(hours=2, minutes=1)
