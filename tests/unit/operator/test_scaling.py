from dataclasses import replace
from typing import Any

import pytest

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling import (
    BUILT_IN,
    Decision,
    Limit,
    Memory,
    Observation,
    ObservedWorker,
    ServiceTimes,
    Situation,
    Wanted,
    decide,
)
from longshore_operator.plugin_checks import check_scaling_policy
from longshore_operator.trouble import Trouble

GRACE = 30.0
NOW = 1000.0


def remembering(**parts: Any) -> Memory:
    """An operator that has watched for a while, and saw nothing a second ago."""
    usual: dict[str, Any] = {
        "at": NOW - 1,
        "finished": 0,
        "work": 0,
        "rate": 0.0,
        "peaks": ((NOW - 1, 0),),
    }
    return Memory(**usual | parts)


def settings(**parts: Any) -> Scaling:
    return Scaling.model_validate({"policy": "backlog", "idleGrace": "30s", **parts})


def idle(count: int, *, cordoned: bool = False) -> tuple[ObservedWorker, ...]:
    return tuple(
        ObservedWorker(name=f"{'c' if cordoned else 'w'}{n}", state="idle", cordoned=cordoned)
        for n in range(count)
    )


def busy(count: int, *, held: int = 1) -> tuple[ObservedWorker, ...]:
    return tuple(ObservedWorker(name=f"b{n}", state="busy", held=held) for n in range(count))


def starting(count: int) -> tuple[ObservedWorker, ...]:
    return tuple(ObservedWorker(name=f"s{n}", state="starting") for n in range(count))


def seen(
    *,
    ready: int | None = 0,
    workers: tuple[ObservedWorker, ...] = (),
    replicas: int | None = None,
    **parts: Any,
) -> Observation:
    return Observation(
        ready=ready,
        workers=workers,
        replicas=len(workers) if replicas is None else replicas,
        **parts,
    )


def decided(
    observation: Observation,
    scaling: Scaling | None = None,
    *,
    slots: int = 1,
    idle_for: float | None = None,
    memory: Memory | None = None,
    limits: tuple[Limit, ...] = (),
    now: float = NOW,
) -> Decision:
    if idle_for is not None:
        memory = remembering(at=now - 1, finished=observation.settled, idle_since=now - idle_for)
    return decide(
        scaling or settings(),
        slots=slots,
        observation=observation,
        memory=memory,
        now=now,
        limits=limits,
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
        pytest.param({}, 1, seen(ready=3, workers=starting(2)), 3, id="starting ones are capacity"),
    ],
)
def test_growing(
    scaling: dict[str, Any], slots: int, observation: Observation, replicas: int
) -> None:
    assert decided(observation, settings(**scaling), slots=slots).replicas == replicas


@pytest.mark.parametrize(
    ("observation", "idle_for"),
    [
        pytest.param(
            seen(workers=(*idle(2), ObservedWorker(name="u", state="unknown"))),
            99,
            id="one is silent",
        ),
        pytest.param(seen(workers=idle(3)), GRACE - 1, id="idle for too short"),
        pytest.param(seen(ready=3, workers=idle(3)), 99, id="jobs wait"),
    ],
)
def test_no_worker_is_cordoned_or_taken_away(
    observation: Observation, idle_for: float | None
) -> None:
    before = remembering(work=3, peaks=((NOW - 1, 3),))
    memory = before if idle_for is None else replace(before, idle_since=NOW - idle_for, work=0)
    decision = decided(observation, memory=memory)

    assert (decision.cordon, decision.remove) == ((), ())
    assert decision.replicas == 3


def test_idle_workers_are_cordoned_first_and_go_when_they_said_so() -> None:
    first = decided(seen(workers=idle(3)), idle_for=GRACE)
    then = decided(seen(workers=idle(3, cordoned=True)), idle_for=GRACE + 1)

    assert (first.replicas, set(first.cordon), first.remove) == (3, {"w0", "w1", "w2"}, ())
    assert (then.replicas, then.cordon, set(then.remove)) == (0, (), {"c0", "c1", "c2"})


def test_idle_ones_go_while_others_work() -> None:
    memory = remembering(work=2)
    observation = seen(workers=busy(2) + idle(1) + idle(1, cordoned=True))

    decision = decided(observation, memory=memory)

    assert (decision.replicas, decision.cordon, decision.remove) == (3, ("w0",), ("c0",))


def test_a_cordoned_worker_that_still_holds_a_job_stays() -> None:
    memory = remembering(work=2)
    late = ObservedWorker(name="late", state="busy", held=1, cordoned=True)

    decision = decided(seen(workers=(late, *idle(1))), memory=memory)

    assert (decision.replicas, decision.remove) == (2, ())


def test_cordoned_workers_are_called_back_before_new_ones_are_ordered() -> None:
    decision = decided(seen(ready=3, workers=idle(2, cordoned=True)))

    assert decision.replicas == 3
    assert set(decision.uncordon) == {"c0", "c1"}


def test_workers_that_cannot_start_do_not_hold_the_rest() -> None:
    decision = decided(seen(workers=starting(3)), idle_for=GRACE)

    assert (decision.replicas, len(decision.remove)) == (0, 3)


def test_a_job_that_came_and_went_between_two_looks_is_work() -> None:
    worked = (replace(idle(1)[0], settled=1),)
    memory = remembering(idle_since=NOW - 99, peaks=((NOW - 1, 1),))

    after = decided(seen(workers=worked), memory=memory)

    assert after.replicas == 1
    assert after.memory is not None
    assert after.memory.idle_since == NOW


def test_as_many_stay_as_were_wanted_lately_while_work_goes_on() -> None:
    scaling = settings(steadyFor="5m")
    busiest = decided(seen(ready=8, workers=busy(2)), scaling)
    calmer = decided(seen(workers=busy(2) + idle(8)), scaling, memory=busiest.memory, now=NOW + 299)
    later = decided(seen(workers=busy(2) + idle(8)), scaling, memory=calmer.memory, now=NOW + 301)

    assert (calmer.wanted, calmer.cordon) == (10, ())
    assert (later.wanted, len(later.cordon)) == (2, 8)


def test_young_workers_are_not_chosen() -> None:
    workers = tuple(replace(worker, age=5.0) for worker in idle(2))

    decision = decided(seen(workers=workers), settings(minLife="10s"), idle_for=99)

    assert decision.cordon == ()
    assert "minLife" in decision.why[-1]


@pytest.mark.parametrize(
    ("scaling", "observation", "reason"),
    [
        pytest.param({}, seen(ready=None, replicas=4), "DepthUnknown", id="depth"),
        pytest.param(
            {}, Observation(ready=9, workers=(), replicas=None), "DeploymentUnknown", id="replicas"
        ),
        pytest.param({"paused": True}, seen(ready=9), "Paused", id="paused"),
        pytest.param({"dryRun": True}, seen(ready=9), "DryRun", id="dry run"),
        pytest.param({"policy": "magic"}, seen(ready=9), "PolicyUnknown", id="policy"),
    ],
)
def test_holding(scaling: dict[str, Any], observation: Observation, reason: str) -> None:
    decision = decided(observation, settings(**scaling))

    assert (decision.replicas, decision.holds) == (None, reason)
    assert decision.cordon == decision.remove == ()


def test_after_not_knowing_idleness_is_proved_anew() -> None:
    memory = remembering(idle_since=NOW - 99, peaks=((NOW - 1, 1),))
    doubt = decided(seen(ready=None, workers=idle(1)), memory=memory)
    after = decided(seen(workers=idle(1)), memory=doubt.memory, now=NOW + 1)

    assert (after.replicas, after.cordon) == (1, ())


def test_an_operator_that_has_just_started_takes_nobody_away() -> None:
    assert decided(seen(workers=idle(3))).cordon == ()


def test_limits_leave_a_line() -> None:
    night = Limit(name="window night", ceiling=2)
    day = Limit(name="window day", floor=5)

    assert decided(seen(ready=9), limits=(night,)).replicas == 2
    assert "window night lowers it to 2" in decided(seen(ready=9), limits=(night,)).why
    assert decided(seen(), limits=(day,)).replicas == 5
    assert "window day raises it to 5" in decided(seen(), limits=(day,)).why


@pytest.mark.parametrize("ready", [0, 9])
def test_trouble_with_a_limit_is_told_whatever_it_changes(ready: int) -> None:
    trouble = Trouble(reason="BudgetUnknown", message="no budget 'gpu'")
    limit = Limit(name="budget 'gpu'", ceiling=2, trouble=trouble)

    decision = decided(seen(ready=ready, replicas=2), limits=(limit,))

    assert (decision.replicas, decision.trouble) == (2, trouble)


def test_growth_in_a_minute_is_limited() -> None:
    scaling = settings(maxGrowth=3)
    first = decided(seen(ready=9), scaling)
    soon = decided(seen(ready=9, replicas=3), scaling, memory=first.memory, now=NOW + 30)
    later = decided(seen(ready=9, replicas=3), scaling, memory=soon.memory, now=NOW + 61)

    assert [each.replicas for each in (first, soon, later)] == [3, 3, 6]


def test_queue_wait_by_hand() -> None:
    """60 jobs of 2 s may wait 10 s; 2 s to react and 2 s to start leave 6, so a slot begins 4."""
    scaling = Scaling.model_validate({"maxQueueWait": "10s", "max": 50})
    observation = seen(ready=60, startup=2.0, service=ServiceTimes(count=1_000_000, mean=2.0))

    assert decided(observation, scaling).replicas == 15


def test_before_anything_was_measured_a_job_is_guessed_to_take_as_long_as_it_may_wait() -> None:
    """10 s are guessed for a job and 10 for a start: half of the wait, 5 s, begins 1.5 a slot."""
    scaling = Scaling.model_validate({"maxQueueWait": "10s", "max": 50})

    assert decided(seen(ready=60), scaling).replicas == 40


def test_running_jobs_make_room_as_fast_as_others_come() -> None:
    """A steady flow without a backlog wants the workers that it has."""
    scaling = Scaling(max=50)
    service = ServiceTimes(count=1_000_000, mean=5.0)
    observation = seen(workers=busy(8), startup=3.0, service=service)

    assert decided(observation, scaling).wanted == 8


def test_a_heap_of_jobs_forecasts_no_other_once_nothing_comes() -> None:
    observation = seen(workers=idle(5), startup=2.0)
    heap = remembering(rate=2.0, idle_since=NOW - 40)

    assert decided(observation, Scaling(max=9), memory=heap).wanted == 0
    assert (decided(observation, Scaling(max=9), memory=remembering(rate=2.0)).wanted or 0) > 0


def test_jobs_that_a_worker_holds_beyond_its_slots_wait() -> None:
    """Short jobs are fetched ahead; a worker with eight of them is one busy slot."""
    service = ServiceTimes(count=1_000_000, mean=0.1)
    fetched = (ObservedWorker(name="b", state="busy", held=8, busy=1),)

    decision = decided(seen(workers=fetched, startup=3.0, service=service), Scaling(max=50))

    assert decision.wanted == 1


@pytest.mark.parametrize("policy", BUILT_IN)
def test_built_in_policies_keep_the_contract_of_policies(policy: str) -> None:
    if policy == "fixed":
        return check_scaling_policy(BUILT_IN[policy])
    return check_scaling_policy(BUILT_IN[policy], scaling=Scaling(max=1, jobs_per_worker=3))


def test_a_policy_that_fails_holds_the_number_and_is_named() -> None:
    def broken(situation: Situation, /) -> Wanted:
        raise KeyError("steps")

    decision = decide(
        settings(policy="broken"),
        slots=1,
        observation=seen(ready=9),
        memory=None,
        now=NOW,
        policies={"broken": broken},
    )

    assert (decision.replicas, decision.holds) == (None, "PolicyFailed")
    assert "'broken'" in decision.why[0]
    assert "steps" in decision.why[0]


def test_a_busy_worker_that_is_not_ready_keeps_all_others() -> None:
    """Kubernetes would take it before the one that we choose."""
    late = ObservedWorker(name="b", state="busy", held=1, ready=False)
    observation = seen(workers=(late, *idle(2, cordoned=True)))

    decision = decided(observation, memory=remembering(work=1))

    assert (decision.replicas, decision.remove) == (3, ())


def test_workers_that_went_are_not_called_back_for_what_was_wanted_before() -> None:
    memory = remembering(peaks=((NOW - 60, 8),), work=1)

    staying = decided(seen(ready=1, workers=idle(8)), settings(max=10), memory=memory)
    gone = decided(seen(ready=1), settings(max=10), memory=memory)

    assert (staying.wanted, gone.wanted) == (8, 1)


def test_the_default_grace_is_five_times_the_start_beyond_its_first_second() -> None:
    scaling = Scaling(max=5)
    observation = seen(workers=idle(2), startup=11.0)

    memory = remembering(peaks=((NOW - 60, 2),))

    early = decided(observation, scaling, memory=replace(memory, idle_since=NOW - 49))
    late = decided(observation, scaling, memory=replace(memory, idle_since=NOW - 50))

    assert (len(early.cordon), len(late.cordon)) == (0, 2)


def test_the_default_grace_is_that_of_a_start_without_others_beside_it() -> None:
    observation = seen(workers=idle(2), startup=11.0, quickest=5.0)

    memory = remembering(peaks=((NOW - 60, 2),))

    scaling = Scaling(max=5)

    early = decided(observation, scaling, memory=replace(memory, idle_since=NOW - 19))
    late = decided(observation, scaling, memory=replace(memory, idle_since=NOW - 20))

    assert (len(early.cordon), len(late.cordon)) == (0, 2)


@pytest.mark.parametrize(
    ("slots", "waiting", "seconds", "expected"),
    [(2, 1, 600.0, 2), (8, 3, 600.0, 2), (1, 2, 1e4, 3)],
)
def test_a_job_does_not_wait_for_a_slot_until_a_long_one_ends(
    slots: int, waiting: int, seconds: float, expected: int
) -> None:
    full = (ObservedWorker(name="b", state="busy", held=slots, busy=slots, slots=slots),)
    service = ServiceTimes(count=1_000_000, mean=seconds)
    observation = seen(ready=waiting, workers=full, startup=3.0, service=service)

    assert decided(observation, Scaling(max=10), slots=slots).wanted == expected


def test_a_job_that_is_longer_than_the_others_does_not_hold_them_up() -> None:
    """Of those that ended one took a second; the one that runs has done so for ten minutes."""
    service = ServiceTimes(count=1_000_000, mean=1.0)
    observation = seen(ready=20, workers=busy(1), startup=3.0, service=service, finished=7)
    watched = remembering(work=21, finished=7, stalled_since=NOW - 600)
    moving = remembering(work=21, finished=6, stalled_since=NOW - 600)

    stuck = decided(observation, Scaling(max=10), memory=watched)
    assert decided(observation, Scaling(max=10), memory=moving).wanted == 1
    assert stuck.wanted == 2
    assert stuck.memory is not None
    assert stuck.memory.stalled_since == NOW - 600


def test_a_stall_needs_jobs_that_wait_and_jobs_that_run() -> None:
    def since(observation: Observation) -> float | None:
        memory = decided(observation, memory=remembering(stalled_since=NOW - 9)).memory
        assert memory is not None
        return memory.stalled_since

    assert since(seen(ready=1, workers=busy(1))) == NOW - 9
    assert since(seen(ready=None, workers=busy(1))) == NOW - 9
    assert since(seen(ready=0, workers=busy(1))) is None
    assert since(seen(ready=1, workers=idle(1))) is None
    assert since(seen(ready=None, workers=busy(1), finished=7)) == NOW


def test_a_budget_is_claimed_for_floors_too_and_not_beyond_ceilings() -> None:
    share = Limit(name="budget 'gpu'", ceiling=0, is_share=True)
    night = Limit(name="window night", ceiling=2)

    assert decided(seen(), settings(min=1), limits=(share,)).claim == 1
    assert decided(seen(ready=9), limits=(share, night)).claim == 2
    assert decided(seen(ready=9), settings(dryRun=True), limits=(share,)).claim is None


@pytest.mark.parametrize(("keeps", "expected"), [(5, 5), (None, 8)])
def test_what_is_kept_for_steadiness_goes_as_far_as_others_of_the_budget_lack_it(
    keeps: int | None, expected: int
) -> None:
    share = Limit(name="budget 'gpu'", ceiling=1, is_share=True, keeps=keeps)
    workers = (*busy(1), *idle(7))
    watched = remembering(peaks=((NOW - 1, 8),), work=1)

    assert decided(seen(workers=workers), limits=(share,), memory=watched).wanted == expected
