"""How the worker of one commit is compared with that of another."""

from __future__ import annotations

import pytest

from benchmarks.worker import alone
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


def of_one(p50: float, *, memory: float = 30.0) -> dict[str, object]:
    return {
        "latency": {"p50_ms": p50},
        "kills": {"hard": {"p50_ms": 4.0}, "replacement": {"p50_ms": 9.0}},
        "footprint": {"parent_rss_mib": memory},
    }


def test_what_is_measured_alone_is_compared_round_by_round() -> None:
    rounds = [
        {"longshore": of_one(ours), "before": of_one(before)}
        for ours, before in [(2.4, 2.0), (4.0, 4.0), (2.1, 2.0)]
    ]
    latency, *others, memory = alone.checks(rounds, ours="longshore", before="before")
    assert latency.measured == pytest.approx(1.05)
    assert latency.ok
    assert [check.measured for check in others] == [1.0, 1.0]
    assert memory.ok


@pytest.mark.parametrize(
    ("ours", "is_wrong"),
    [
        (of_one(2.3), [True, False, False, False]),
        (of_one(2.0, memory=32.5), [False, False, False, True]),
        ({"latency": {"fault": "not measured: nobody consumes"}}, [True, True, True, True]),
    ],
    ids=["slower", "larger", "not-measured"],
)
def test_what_is_worse_alone_or_not_known_is_not_ok(
    ours: dict[str, object], is_wrong: list[bool]
) -> None:
    rounds = [{"longshore": ours, "before": of_one(2.0)}]
    found = list(alone.checks(rounds, ours="longshore", before="before"))
    assert [not check.ok for check in found] == is_wrong
