"""How the worker of one commit is compared with that of another."""

from __future__ import annotations

import pytest

from benchmarks.worker.drains import Round
from benchmarks.worker.paired import checks
from benchmarks.worker.throughput import Spoiled
from tests.unit.benchmarks.test_throughput import drained


def rounds(ours: list[float], before: list[float]) -> list[Round | Spoiled]:
    pairs = [("longshore", ours), ("before", before)]
    return [
        drained(name, rate, number=number)
        for name, rates in pairs
        for number, rate in enumerate(rates)
    ]


@pytest.mark.parametrize(
    ("ours", "before", "measured", "ok"),
    [
        ([970, 990, 980], [1000, 1000, 1000], 0.98, True),
        ([960, 990, 965], [1000, 1000, 1000], 0.965, False),
        ([500, 2000, 1000], [500, 2000, 1000], 1.0, True),
    ],
    ids=["as-fast", "slower", "a-machine-that-changes-its-speed"],
)
def test_a_cell_is_judged_by_the_median_of_its_rounds_ratios(
    ours: list[float], before: list[float], measured: float, ok: bool
) -> None:
    (check,) = checks(rounds(ours, before))
    assert check.measured == pytest.approx(measured)
    assert check.ok is ok


def test_a_cell_that_was_never_drained_by_both_is_not_ok() -> None:
    gone = Spoiled(contender="before", queue_type="quorum", prefetch=32, fault="2 left unacked")
    (check,) = checks([drained("longshore", 1000), gone])
    assert check.measured is None
    assert not check.ok
