from datetime import UTC, datetime
from typing import Any

import pytest

from longshore_operator.api.v1alpha1 import Schedule
from longshore_operator.core.scaling.schedules import last_begin, limits_at


def schedule(**parts: Any) -> Schedule:
    return Schedule.model_validate(
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
def test_a_schedule_holds_from_its_time_for_its_duration(now: str, holds: bool) -> None:
    assert bool(limits_at([schedule()], at(now))) == holds


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
    night = schedule(cron="0 0 * * *", duration="6h", max=1, min=None)

    assert limits_at([night], at("2026-10-25T03:59"))  # 4:59, but six hours are not over
    assert not limits_at([night], at("2026-10-25T04:00"))


def test_a_bad_cron_or_zone_is_named() -> None:
    with pytest.raises(ValueError, match="'61 8 \\* \\* \\*' is not a cron expression"):
        schedule(cron="61 8 * * *")
    with pytest.raises(ValueError, match="'Europe/Barlin' is not a time zone"):
        schedule(timeZone="Europe/Barlin")
