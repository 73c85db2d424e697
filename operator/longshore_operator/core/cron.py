"""When a cron expression is due, in real time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim


def next_begin(cron: str, time_zone: str, after: datetime) -> datetime | None:
    """Return when `cron` is first due after a moment, in UTC; None if it is not due within 50
    years."""
    zone = ZoneInfo(time_zone)
    # Start before a change of clocks: inside the hour that autumn repeats, what was due in its
    # first pass would be due again.
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
    """Return when `cron` was last due, up to and including `minute`; None if it was not due within
    50 years. The result is in UTC, so that durations are real time whatever the clocks do."""
    zone = ZoneInfo(time_zone)
    around = [(minute + change).astimezone(zone) for change in (-_LONGEST_CHANGE, _LONGEST_CHANGE)]
    later = (minute + _STEP).astimezone(zone)
    if len({each.utcoffset() for each in around}) > 1:
        # Start after the change of clocks: inside the hour that autumn repeats, cronsim 2.8 going
        # backwards omits what was due in its first pass. At other times, that would only cost:
        # 1.8 ms for an expression that is due every minute.
        later = around[1]
    for local in CronSim(cron, later, reverse=True):
        found = local.astimezone(UTC)
        if found <= minute:
            return found
    return None


_STEP = timedelta(minutes=1)
_LONGEST_CHANGE = timedelta(hours=2, minutes=1)
