from typing import Any

import pytest

from benchmarks.worker.checks import Bound, Check, Side


def check(**changes: Any) -> Check:
    fields: dict[str, Any] = {
        "name": "latency",
        "side": Side.AT_MOST,
        "target": 50,
        "unit": "ms",
        "measured": 49.0,
    }
    return Check(**{**fields, **changes})


@pytest.mark.parametrize(
    ("side", "measured", "ok"),
    [
        (Side.AT_MOST, 49.9, True),
        (Side.AT_MOST, 50.0, True),
        (Side.AT_MOST, 50.1, False),
        (Side.AT_LEAST, 49.9, False),
        (Side.AT_LEAST, 50.0, True),
        (Side.AT_LEAST, 50.1, True),
    ],
)
def test_a_target_is_reached_on_its_good_side_and_on_itself(
    side: Side, measured: float, ok: bool
) -> None:
    assert check(side=side, measured=measured).ok is ok


@pytest.mark.parametrize("side", Side)
def test_what_is_not_measured_is_not_ok(side: Side) -> None:
    assert not check(side=side, measured=None).ok


def test_the_results_name_target_value_and_verdict() -> None:
    assert check(note="on a quiet machine").as_json() == {
        "name": "latency",
        "target": "≤ 50 ms",
        "measured": 49.0,
        "ok": True,
        "note": "on a quiet machine",
    }


def test_a_bound_takes_its_value_out_of_the_measurement() -> None:
    bound = Bound("jobs", Side.AT_LEAST, 2, "jobs", len, note="roughly")

    found = bound.check(["one", "two"])

    assert (found.measured, found.ok, found.note) == (2, True, "roughly")


def test_a_bound_on_a_failed_measurement_tells_why_and_is_not_ok() -> None:
    bound = Bound("jobs", Side.AT_LEAST, 2, "jobs", len, note="roughly")

    found = bound.check(None, fault="the worker died")

    assert (found.measured, found.ok, found.note) == (None, False, "the worker died")
