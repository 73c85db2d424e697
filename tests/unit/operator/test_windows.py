from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from longshore_operator.api.v1alpha1 import ScalingWindow
from longshore_operator.core import cron
from longshore_operator.core.cron import last_begin
from longshore_operator.core.scaling.windows import limits_at


def window(**parts: Any) -> ScalingWindow:
    return ScalingWindow.model_validate(
        {"cron": "0 8 * * MON-FRI", "duration": "10h", "timeZone": "Europe/Berlin", "min": 3}
        | parts
    )


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        pytest.param("2026-11-20T06:59:59", False, id="a second before 8 in Berlin"),
        pytest.param("2026-11-20T07:00:00", True, id="8 in Berlin"),
        pytest.param("2026-11-20T16:59:59", True, id="a second before its end"),
        pytest.param("2026-11-20T17:00:00", False, id="its end"),
        pytest.param("2026-11-21T12:00:00", False, id="a Saturday"),
        pytest.param("2026-07-20T06:00:00", True, id="8 in Berlin in summer"),
    ],
)
def test_a_window_holds_from_its_time_for_its_duration(now: str, holds: bool) -> None:
    assert bool(limits_at([window()], at(now))) == holds


@pytest.mark.parametrize(
    ("minute", "begin"),
    [
        pytest.param("2026-03-29T00:59", "2026-03-28T01:30", id="before the gap"),
        pytest.param("2026-03-29T01:00", "2026-03-29T01:00", id="skipped, so right after the gap"),
        pytest.param("2026-10-25T00:30", "2026-10-25T00:30", id="the first of two 2:30"),
        pytest.param("2026-10-25T00:45", "2026-10-25T00:30", id="between the two"),
        pytest.param("2026-10-25T01:15", "2026-10-25T00:30", id="2:15 again"),
        pytest.param("2026-10-25T01:45", "2026-10-25T00:30", id="2:30 does not begin twice"),
    ],
)
def test_clocks_that_change(minute: str, begin: str) -> None:
    assert last_begin("30 2 * * *", "Europe/Berlin", at(minute)) == at(begin)


def test_a_duration_is_real_time_over_a_change_of_clocks() -> None:
    night = window(cron="0 0 * * *", duration="6h", max=1, min=None)

    assert limits_at([night], at("2026-10-25T03:59"))  # 4:59, but six hours are not over
    assert not limits_at([night], at("2026-10-25T04:00"))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("cron", ["* * * * *", "*/7 * * * *", "30 2 * * *", "15 1,2,3 * * SUN"])
def test_the_last_begin_is_the_latest_of_all(cron: str, zone: str) -> None:
    """Also around changes of clocks, where it is looked for in another way than elsewhere."""
    for day in ("2026-03-29", "2026-10-25", "2026-04-04", "2026-10-03", "2026-06-10"):
        begins: list[datetime] = []
        for local in CronSim(cron, at(f"{day}T00:00").astimezone(ZoneInfo(zone))):
            if (begin := local.astimezone(UTC)) > at(f"{day}T04:00"):
                break
            begins.append(begin)
        for hour in range(4):
            for minute in (0, 1, 14, 15, 29, 30, 31, 59):
                now = at(f"{day}T{hour:02}:{minute:02}")
                if expected := [begin for begin in begins if begin <= now]:
                    assert last_begin(cron, zone, now) == max(expected), now


@pytest.mark.parametrize("duration", ["1m", "45m", "3h", "49h"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("cron", ["* * * * *", "30 2 * * *", "15 1,2,3 * * SUN", "0 0 29 2 MON"])
def test_a_window_holds_minute_by_minute_as_if_it_were_looked_at_once(
    cron: str, zone: str, duration: str
) -> None:
    """What is remembered of the minutes before changes nothing, also while clocks change."""
    each = window(cron=cron, timeZone=zone, duration=duration)
    for day in ("2026-03-29", "2026-10-25", "2026-04-04", "2026-10-03"):
        for minutes in range(0, 26 * 60, 3):
            now = at(f"{day}T00:00:07") + timedelta(minutes=minutes)
            begin = last_begin(cron, zone, now.replace(second=0))
            holds = begin is not None and now - begin < timedelta(seconds=each.duration)
            assert bool(limits_at([each], now)) == holds, now


def test_a_window_is_reckoned_when_it_may_change_and_not_each_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 5,000 different ones too, among them such that come due every 28 years."""
    reckoned = list[str]()

    def counting(cron: str, *rest: Any, **more: Any) -> CronSim:
        reckoned.append(cron)
        return CronSim(cron, *rest, **more)

    monkeypatch.setattr(cron, "CronSim", counting)
    rare = [window(cron=f"{each} 8 * 2 TUE#5") for each in range(60)]
    usual = [
        window(cron=f"{each % 60} {each // 60 % 24} */{each // 1440 + 1} * *")
        for each in range(5000)
    ]
    now = at("2027-02-26T12:00:05")
    limits_at([*rare, *usual], now)
    assert len(reckoned) >= 5000

    reckoned.clear()
    limits_at([*rare, *usual], now + timedelta(seconds=1))
    assert reckoned == []

    for minutes in range(1, 10):
        limits_at([*rare, *usual], now + timedelta(minutes=minutes))
    assert len(reckoned) < 500


@pytest.mark.parametrize("cron", ["0 0 8 * * *", "@daily", "@every_minute x y z v", "8 * * *"])
def test_a_cron_has_five_fields(cron: str) -> None:
    with pytest.raises(ValueError, match=r"must have five fields|at least 9 characters"):
        window(cron=cron)


def test_a_bad_cron_or_zone_is_named() -> None:
    with pytest.raises(ValueError, match="'61 8 \\* \\* \\*' is not a cron expression"):
        window(cron="61 8 * * *")
    with pytest.raises(ValueError, match="'Europe/Barlin' is not a time zone"):
        window(timeZone="Europe/Barlin")
