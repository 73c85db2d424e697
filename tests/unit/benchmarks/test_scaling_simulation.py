"""The simulation that the scaler is compared with KEDA in."""

from random import Random

import pytest

from benchmarks.scaling import rush, traces
from benchmarks.scaling.fleet import Fleet, State
from benchmarks.scaling.keda import SETTINGS, Keda, victims
from benchmarks.scaling.longshore import Longshore
from benchmarks.scaling.measures import measured
from benchmarks.scaling.traces import Trace
from longshore_operator.api.v1alpha1 import Scaling

DEFAULT, TUNED, HTTP, AMQP, PATIENT = SETTINGS


def jobs(*arrivals: float, last: float, until: float) -> Trace:
    return Trace("test", until, arrivals, (last,) * len(arrivals))


def test_the_hpa_takes_six_syncs_from_1_to_100() -> None:
    """1, 5, 10, 20, 40, 80, 100: its default behaviour."""
    fleet = Fleet(jobs(*[1.0] * 1000, last=3600.0, until=150.0), 10.0, 30.0)
    keda = Keda(HTTP, 100, Random(1))
    sizes = list[int]()
    while len(fleet.pods) < 100:
        now = keda.next_look(0.0)
        if not sizes:
            fleet.queue.extend(range(1000))
        keda.look(fleet, now)
        if not sizes or sizes[-1] != len(fleet.pods):
            sizes.append(len(fleet.pods))

    assert [size for size in sizes if size] == [1, 5, 10, 20, 40, 80, 100]


def test_keda_goes_to_zero_only_after_its_cooldown() -> None:
    fleet = Fleet(jobs(1.0, last=1.0, until=600.0), 1.0, 30.0)
    fleet.run(Keda(TUNED, 100, Random(1)))
    (pod,) = fleet.all_pods

    assert pod.ended is not None
    assert 60 <= pod.ended - fleet.started[0] <= 60 + 2 * TUNED.poll


def test_a_replica_set_takes_those_that_start_then_the_youngest() -> None:
    fleet = Fleet(jobs(1.0, last=1.0, until=1.0), 10.0, 30.0)
    for when in (0.0, 5000.0, 9995.0):
        fleet.add(1, when)
    old, young, starting = fleet.pods.values()
    old.state = young.state = State.IDLE

    assert victims(fleet.pods.values(), 2, Random(1), 10_000.0) == [starting, young]


def test_a_job_that_outlives_the_grace_is_killed_and_runs_again() -> None:
    fleet = Fleet(jobs(0.5, last=100.0, until=300.0), 1.0, 30.0)

    class Impatient:
        looks = iter((0.0, 50.0, 60.0, 400.0, 1e9))

        def next_look(self, _now: float, /) -> float:
            return next(self.looks)

        def look(self, fleet: Fleet, now: float) -> None:
            if now == 50.0:
                fleet.end(list(fleet.pods.values()), now)
            else:
                fleet.add(1, now)

    ended = fleet.run(Impatient())

    assert fleet.killed == 1
    assert fleet.wasted == pytest.approx(79.0)
    assert measured(fleet, ended=ended).jobs == 1


def test_longshore_kills_nothing_and_ends_at_zero() -> None:
    fleet = Fleet(traces.spike(Random(3)), 10.0, 0.0)
    fleet.run(Longshore(Scaling(max=100), phase=0.5))

    assert fleet.killed == 0
    assert fleet.finished == len(fleet.started)


@pytest.mark.parametrize("known", [False, True])
def test_sixty_jobs_at_once(known: bool) -> None:
    found = rush.measure(known=known)

    assert found.first <= 3
    assert found.drained <= 14
    assert found.p95 <= 10
    assert found.pod_seconds <= 400
    assert found.patches == 1
