"""When a cron expression comes due, in real time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim


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
