"""Which schedules hold now."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
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


def _holds(schedule: Schedule, now: datetime) -> bool:
    minute = now.replace(second=0, microsecond=0)
    begin = last_begin(schedule.cron, schedule.time_zone, minute)
    return begin is not None and now - begin < timedelta(seconds=schedule.duration)


@lru_cache(maxsize=4096)
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
