"""From runs of the simulation to verdicts and pictures."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling import compare, plots, rush, verdicts
from benchmarks.scaling.compare import CONTENDERS, LONGSHORE, Case, Duel, Row
from benchmarks.scaling.cost import Cost
from benchmarks.scaling.measures import Measures

COST = Cost(idle_us=20.0, active_us=30.0, tick_ms=25.0)


def measures(*, misses: float, pod_hours: float, starts: float = 10.0) -> Measures:
    return Measures(
        jobs=100, misses=misses, p50=1.0, p95=10.0, p99=20.0, under=0.1, over=0.2,
        pod_hours=pod_hours, killed=0, wasted=0.0, starts=starts,
    )  # fmt: skip


def duel(ours: Measures, *, boot: float = 10.0) -> Duel:
    theirs = {name: measures(misses=5.0, pod_hours=9.0) for name in CONTENDERS}
    theirs["KEDA tuned"] = measures(misses=1.0, pod_hours=8.0)
    theirs["KEDA value 1, HTTP"] = measures(misses=1.0, pod_hours=7.0)
    rows = [
        Row(seeds="held-out", boot=boot, trace="spike", contender=name, measures=each)
        for name, each in (theirs | {LONGSHORE: ours}).items()
    ]
    return compare.duels(rows)[0]


def test_the_best_keda_misses_least_and_of_equals_costs_least() -> None:
    assert duel(measures(misses=1.0, pod_hours=7.0)).best == "KEDA value 1, HTTP"


@pytest.mark.parametrize(
    ("ours", "won"),
    [
        pytest.param(measures(misses=1.0, pod_hours=7.0, starts=12.0), True, id="as good"),
        pytest.param(measures(misses=1.1, pod_hours=1.0), False, id="more misses"),
        pytest.param(measures(misses=0.0, pod_hours=7.1), False, id="more pod-hours"),
        pytest.param(measures(misses=0.0, pod_hours=7.0, starts=12.1), False, id="more starts"),
    ],
)
def test_a_trace_is_won_on_all_three_counts(ours: Measures, won: bool) -> None:
    assert duel(ours).is_won == won


def test_a_killed_job_and_a_lost_trace_are_not_ok() -> None:
    case = Case(trace="spike", contender=LONGSHORE, boot=10.0, seed=1)
    killed = replace(measures(misses=0.0, pod_hours=1.0), killed=1)
    rush_found = rush.Rush(first=2.0, drained=9.0, p95=7.0, pod_seconds=390.0, patches=1)
    found = verdicts.checks(
        [compare.Round(case=case, measures=killed)],
        [duel(measures(misses=9.0, pod_hours=1.0))],
        rushes={"known": rush_found},
        cost=COST,
    )
    failed = {each.name for each in found if not each.ok}

    assert failed == {
        "jobs killed by scaling",
        "traces won against the best KEDA, held-out seeds",
        "p95 wait beside KEDA's default, spike, held-out seeds",
    }


def test_the_same_case_gives_the_same_measures_and_a_picture(tmp_path: Path) -> None:
    cases = [
        Case(trace="sparse", contender=contender, boot=10.0, seed=9) for contender in CONTENDERS
    ]
    rounds = [compare.simulate(case) for case in cases]
    means = compare.rows(rounds, tuning=[9])

    assert rounds == [compare.simulate(case) for case in cases]
    assert len(compare.duels(means)) == 1
    assert [path.read_bytes()[:4] for path in plots.draw(means, tmp_path)] == [b"\x89PNG"]
