from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling import Decision, Idleness, Observation, Worker, decide

GRACE = 30.0


def settings(**parts: Any) -> Scaling:
    return Scaling.model_validate({"idleGrace": "30s", **parts})


def idle(count: int) -> tuple[Worker, ...]:
    return tuple(Worker(name=f"w{n}", state="idle") for n in range(count))


def busy(count: int, *, held: int = 1) -> tuple[Worker, ...]:
    return tuple(Worker(name=f"b{n}", state="busy", held=held) for n in range(count))


def seen(
    *, ready: int | None = 0, workers: tuple[Worker, ...] = (), replicas: int | None = None
) -> Observation:
    return Observation(
        ready=ready, workers=workers, replicas=len(workers) if replicas is None else replicas
    )


def decided(
    observation: Observation,
    scaling: Scaling | None = None,
    *,
    slots: int = 1,
    idle_for: float | None = None,
) -> Decision:
    idleness = None
    if idle_for is not None:
        idleness = Idleness(since=1000.0 - idle_for, settled=observation.settled)
    return decide(
        scaling or settings(),
        slots=slots,
        observation=observation,
        idleness=idleness,
        now=1000.0,
    )


@pytest.mark.parametrize(
    ("scaling", "slots", "observation", "replicas"),
    [
        pytest.param({}, 1, seen(ready=7), 7, id="zero to N in one step"),
        pytest.param({"max": 5}, 1, seen(ready=70), 5, id="never above max"),
        pytest.param({"min": 2}, 1, seen(), 2, id="never below min"),
        pytest.param({"jobsPerWorker": 4}, 1, seen(ready=9), 3, id="jobs per worker, rounded up"),
        pytest.param({}, 4, seen(ready=9), 3, id="as many jobs per worker as it has slots"),
        pytest.param({}, 1, seen(ready=1, workers=busy(2)), 3, id="running jobs count too"),
        pytest.param(
            {"policy": "fixed", "max": 6}, 1, seen(), 6, id="fixed wants max, whatever comes"
        ),
    ],
)
def test_growing(
    scaling: dict[str, Any], slots: int, observation: Observation, replicas: int
) -> None:
    assert decided(observation, settings(**scaling), slots=slots).replicas == replicas


@pytest.mark.parametrize(
    ("observation", "idle_for"),
    [
        pytest.param(seen(workers=idle(2) + busy(1)), 99, id="a worker is busy"),
        pytest.param(
            seen(workers=(*idle(2), Worker(name="u", state="unknown"))), 99, id="one is silent"
        ),
        pytest.param(seen(workers=idle(3)), GRACE - 1, id="idle for too short"),
        pytest.param(seen(workers=idle(3)), None, id="only just idle"),
        pytest.param(seen(ready=1, workers=idle(3)), 99, id="a job waits"),
    ],
)
def test_no_worker_is_taken_away_without_proof_that_all_are_idle(
    observation: Observation, idle_for: float | None
) -> None:
    decision = decided(observation, idle_for=idle_for)

    assert decision.replicas == 3
    assert "stays at 3" in decision.why[-1]


def test_after_the_grace_all_idle_workers_go() -> None:
    assert decided(seen(workers=idle(3)), idle_for=GRACE).replicas == 0


def test_workers_that_cannot_start_do_not_hold_the_rest() -> None:
    stuck = tuple(Worker(name=f"s{n}", state="starting") for n in range(3))

    assert decided(seen(workers=stuck), idle_for=GRACE).replicas == 0


def test_a_job_that_came_and_went_between_two_looks_is_work() -> None:
    before = decided(seen(workers=idle(1)), idle_for=20)
    assert before.idleness is not None
    worked = (replace(idle(1)[0], settled=1),)

    after = decide(
        settings(), slots=1, observation=seen(workers=worked), idleness=before.idleness, now=1010.0
    )

    assert after.replicas == 1
    assert after.idleness == Idleness(since=1010.0, settled=1)


@pytest.mark.parametrize(
    ("scaling", "observation", "reason"),
    [
        pytest.param({}, seen(ready=None, replicas=4), "DepthUnknown", id="depth"),
        pytest.param(
            {}, Observation(ready=9, workers=(), replicas=None), "DeploymentUnknown", id="replicas"
        ),
        pytest.param({"paused": True}, seen(ready=9), "Paused", id="paused"),
    ],
)
def test_unknown_is_not_zero_and_holds(
    scaling: dict[str, Any], observation: Observation, reason: str
) -> None:
    decision = decided(observation, settings(**scaling), idle_for=99)

    assert (decision.replicas, decision.holds) == (None, reason)
    assert decision.idleness is None, "idleness must be proved anew"


STATES = st.sampled_from(["idle", "busy", "starting", "unknown"])
WORKERS = st.lists(
    st.builds(Worker, name=st.just("w"), state=STATES, held=st.integers(0, 5)), max_size=20
).map(tuple)
BOUNDS = st.tuples(st.integers(0, 20), st.integers(1, 40)).filter(lambda pair: pair[0] <= pair[1])


@given(
    bounds=BOUNDS,
    ready=st.integers(0, 100),
    workers=WORKERS,
    replicas=st.integers(0, 60),
    idle_for=st.none() | st.floats(0, 100),
    per_worker=st.integers(1, 10),
)
def test_invariants(
    bounds: tuple[int, int],
    ready: int,
    workers: tuple[Worker, ...],
    replicas: int,
    idle_for: float | None,
    per_worker: int,
) -> None:
    scaling = settings(min=bounds[0], max=bounds[1], jobsPerWorker=per_worker)
    observation = seen(ready=ready, workers=workers, replicas=replicas)
    decision = decided(observation, scaling, idle_for=idle_for)
    more = decided(replace(observation, ready=ready + 1), scaling, idle_for=idle_for)

    assert decision.replicas is not None
    assert more.replicas is not None
    assert bounds[0] <= decision.replicas <= max(bounds[1], replicas)
    assert decision.why
    assert more.replicas >= decision.replicas or decision.replicas == replicas
    if decision.replicas < replicas:
        assert ready == 0
        assert all(worker.state in ("idle", "starting") for worker in workers)
