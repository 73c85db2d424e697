"""What holds for every decision, whatever is seen, remembered and asked for."""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given
from hypothesis import settings as running
from hypothesis import strategies as st

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
    decide,
)
from tests.unit.operator.test_scaling import NOW, settings


def examples(count: int) -> running:
    """More of them than usual: few of all courses come to the point."""
    return running(max_examples=count, deadline=None)


STATES = st.sampled_from(["idle", "busy", "starting", "unknown"])


def _workers(states: list[tuple[Any, int, bool]]) -> tuple[ObservedWorker, ...]:
    return tuple(
        ObservedWorker(
            name=f"w{n}",
            state=state,
            held=max(1, held) if state == "busy" else 0,
            cordoned=cordoned and state != "starting",
            ready=state != "starting",
        )
        for n, (state, held, cordoned) in enumerate(states)
    )


FEW = st.sampled_from([0, 0, 1, 2])
"""Where most of what may go wrong does: nothing, or hardly anything."""

WORKERS = st.lists(st.tuples(STATES, st.integers(0, 5), st.booleans()), max_size=8).map(_workers)
LIMITS = st.lists(
    st.builds(
        Limit,
        name=st.just("a limit"),
        floor=st.none() | st.integers(0, 30),
        ceiling=st.none() | st.integers(0, 30),
    ),
    max_size=3,
)
SERVICE = st.none() | st.builds(
    ServiceTimes, count=st.integers(1, 1000), mean=st.floats(0.001, 7200)
)


@st.composite
def scalings(
    draw: st.DrawFn, /, policies: tuple[str, ...] = tuple(BUILT_IN), **more: Any
) -> Scaling:
    most = draw(st.integers(1, 40))
    return settings(
        min=draw(FEW.filter(lambda least: least <= most) | st.integers(0, most)),
        max=most,
        policy=draw(st.sampled_from(policies)),
        jobsPerWorker=draw(st.integers(1, 10)),
        **more,
    )


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """A Deployment of the workers that are seen, and of replicas without a pod."""
    workers = draw(WORKERS)
    return Observation(
        ready=draw(FEW | st.integers(0, 100)),
        workers=workers,
        unseen=draw(FEW),
        replicas=len(workers) + draw(FEW | st.integers(0, 30)),
        service=draw(SERVICE),
        startup=draw(st.none() | st.floats(0, 100)),
    )


@st.composite
def memories(draw: st.DrawFn) -> Memory | None:
    """What an operator may have kept from a look one second ago; None: it has just started."""
    if draw(st.booleans()):
        return None
    falling = sorted(
        draw(st.lists(FEW | st.integers(0, 60), max_size=4, unique=True)), reverse=True
    )
    idle_for = draw(st.none() | st.floats(1, 100))
    return Memory(
        at=NOW - 1,
        finished=draw(st.integers(0, 3)),
        work=draw(st.none() | st.integers(0, 100)),
        rate=draw(st.floats(0, 50)),
        idle_since=None if idle_for is None else NOW - idle_for,
        peaks=tuple((NOW - 100 + 20 * n, count) for n, count in enumerate(falling)),
    )


def decided(
    scaling: Scaling,
    observation: Observation,
    memory: Memory | None,
    *,
    limits: list[Limit] | None = None,
    now: float = NOW,
) -> Decision:
    return decide(
        scaling, slots=1, observation=observation, memory=memory, now=now, limits=limits or ()
    )


@examples(300)
@given(scaling=scalings(), observation=observations(), memory=memories(), limits=LIMITS)
def test_what_is_wanted_is_within_all_bounds(
    scaling: Scaling, observation: Observation, memory: Memory | None, limits: list[Limit]
) -> None:
    ceiling = min([scaling.max, *[each.ceiling for each in limits if each.ceiling is not None]])
    floor = max([scaling.min, *[each.floor for each in limits if each.floor is not None]])

    decision = decided(scaling, observation, memory, limits=limits)

    assert decision.why
    assert decision.wanted is not None
    assert min(floor, ceiling) <= decision.wanted <= ceiling
    assert decision.replicas is not None
    assert observation.replicas is not None
    assert decision.replicas <= max(ceiling, observation.replicas), "no growth beyond a ceiling"
    assert decision.replicas >= min(decision.wanted, observation.replicas)


@examples(300)
@given(scaling=scalings(), observation=observations(), memory=memories(), limits=LIMITS)
def test_only_who_holds_nothing_goes(
    scaling: Scaling, observation: Observation, memory: Memory | None, limits: list[Limit]
) -> None:
    by_name = {worker.name: worker for worker in observation.workers}

    decision = decided(scaling, observation, memory, limits=limits)

    assert decision.replicas is not None
    assert observation.replicas is not None
    for name in decision.cordon:
        assert by_name[name].state == "idle"
        assert not by_name[name].cordoned
    for name in decision.uncordon:
        assert by_name[name].cordoned
    for name in decision.remove:
        worker = by_name[name]
        assert worker.held == 0
        assert worker.state == "starting" or (worker.state == "idle" and worker.cordoned)
    assert not set(decision.remove) & set(decision.uncordon)
    keep = [worker for worker in observation.workers if worker.state in ("busy", "unknown")]
    assert decision.replicas >= len(keep), "never fewer than may be busy"
    cordoned = {worker.name for worker in observation.workers if worker.cordoned}
    leaving = (cordoned - set(decision.uncordon)) | {*decision.cordon, *decision.remove}
    assert len(leaving) <= max(0, len(observation.workers) - (decision.wanted or 0)), (
        "nobody goes for a replica that has no pod"
    )
    assert decision.free <= max(0, observation.podless - observation.unseen)
    if decision.replicas < observation.replicas:
        assert decision.replicas == observation.replicas - decision.free - len(decision.remove)
    if decision.remove:
        assert not any(worker.state == "unknown" for worker in observation.workers)


@examples(300)
@given(scaling=scalings(), observation=observations(), memory=memories(), limits=LIMITS)
def test_replicas_without_a_pod_are_given_up_at_once_whatever_the_workers_do(
    scaling: Scaling, observation: Observation, memory: Memory | None, limits: list[Limit]
) -> None:
    decision = decided(scaling, observation, memory, limits=limits)

    assert observation.replicas is not None
    surplus = max(0, observation.replicas - (decision.wanted or 0))
    known = max(0, observation.podless - observation.unseen)
    assert decision.free == min(surplus, known)


@examples(300)
@given(
    scaling=scalings(),
    observation=observations(),
    memory=memories(),
    limits=LIMITS,
    surge=st.integers(0, 2),
)
def test_during_a_rollout_somebody_goes_only_when_nobody_has_anything_to_do(
    scaling: Scaling,
    observation: Observation,
    memory: Memory | None,
    limits: list[Limit],
    surge: int,
) -> None:
    assert observation.replicas is not None
    replicas = max(0, observation.replicas - surge)
    observation = replace(observation, is_rolling=True, replicas=replicas)

    decision = decided(scaling, observation, memory, limits=limits)

    workers = observation.workers
    assert decision.replicas is not None
    assert decision.free == 0
    assert decision.replicas >= min(replicas, decision.wanted or 0)
    if decision.cordon or decision.replicas < replicas:
        assert observation.ready == 0
        assert all(worker.state in ("idle", "starting") for worker in workers)
    if decision.replicas < replicas:
        assert set(decision.remove) == {worker.name for worker in workers}
        assert all(worker.cordoned or worker.state == "starting" for worker in workers)
    if observation.ready and replicas > (decision.wanted or 0):
        assert {*decision.uncordon} == {worker.name for worker in workers if worker.cordoned}


UNKNOWN = st.sampled_from(["depth", "deployment", "policy", "paused", "dry run"])


@given(
    what=UNKNOWN,
    scaling=scalings(),
    observation=observations(),
    memory=memories(),
    limits=LIMITS,
)
def test_what_is_unknown_or_forbidden_holds_the_number(
    what: str,
    scaling: Scaling,
    observation: Observation,
    memory: Memory | None,
    limits: list[Limit],
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "policy": {"policy": "nowhere"},
        "paused": {"paused": True},
        "dry run": {"dry_run": True},
    }
    unknown: dict[str, dict[str, Any]] = {
        "depth": {"ready": None},
        "deployment": {"replicas": None},
    }

    decision = decided(
        scaling.model_copy(update=changes.get(what, {})),
        replace(observation, **unknown.get(what, {})),
        memory,
        limits=limits,
    )

    assert (decision.replicas, decision.cordon, decision.remove) == (None, (), ())
    assert decision.holds
    assert decision.why


@examples(300)
@given(
    scaling=scalings(),
    observation=observations(),
    memory=memories(),
    limits=LIMITS,
    more=st.integers(1, 100),
)
def test_more_waiting_jobs_never_want_fewer_workers(
    scaling: Scaling,
    observation: Observation,
    memory: Memory | None,
    limits: list[Limit],
    more: int,
) -> None:
    assert observation.ready is not None
    greater = replace(observation, ready=observation.ready + more)

    few = decided(scaling, observation, memory, limits=limits)
    many = decided(scaling, greater, memory, limits=limits)

    assert few.wanted is not None
    assert many.wanted is not None
    assert many.wanted >= few.wanted
    assert (many.claim or 0) >= (few.claim or 0)
    assert few.replicas is not None
    assert many.replicas is not None
    assert many.replicas >= few.replicas


@given(
    ready=st.integers(0, 500),
    held=st.integers(0, 50),
    service=st.floats(0.001, 7200),
    startup=st.floats(0, 600),
    rate=st.floats(0, 100),
    slots=st.integers(1, 16),
)
def test_queue_wait_is_monotonic_for_any_times(
    ready: int, held: int, service: float, startup: float, rate: float, slots: int
) -> None:
    def workers(waiting: int) -> int:
        situation = Situation(
            scaling=Scaling(),
            ready=waiting,
            held=held,
            running=held,
            workers=held,
            slots=slots,
            service=service,
            startup=startup,
            arrivals=rate,
        )
        return BUILT_IN["queueWait"](situation).workers

    assert workers(ready) <= workers(ready + 1) <= workers(ready + 100)
    assert workers(ready) >= (ready + held > 0)


STEADY, GRACE = 60.0, 20.0

FOLLOWING = scalings(("queueWait", "backlog"), steadyFor="60s", idleGrace="20s", minLife="0s")
STEPS = st.sampled_from([1.0, 5.0, 11.0, 25.0])
"""Seconds between looks: within the grace, about it, beyond it."""

ARRIVALS = st.sampled_from([0, 0, 0, 0, 0, 1, 3, 12])
KNOWN = st.sampled_from(["idle", "idle", "idle", "idle", "busy", "starting"])
LOOKS = st.lists(
    st.tuples(ARRIVALS, st.lists(KNOWN, max_size=5), STEPS),
    min_size=5,
    max_size=30,
)


@examples(300)
@given(looks=LOOKS, scaling=FOLLOWING)
def test_nobody_goes_before_the_grace_has_passed(
    looks: list[tuple[int, list[Any], float]], scaling: Scaling
) -> None:
    """Over any course of events: a worker is cordoned only if fewer were wanted for `steadyFor`, or
    nothing waited or ran for `idleGrace`, or the ceiling is lower."""
    memory, now = None, NOW
    wanted_at: list[tuple[float, int]] = []
    worked_at = NOW
    for ready, states, elapsed in looks:
        now += elapsed
        workers = _workers([(state, 1, False) for state in states])
        observation = Observation(ready=ready, workers=workers, replicas=len(workers))
        decision = decided(scaling, observation, memory, now=now)
        memory = decision.memory
        if ready or any(worker.state in ("busy", "unknown") for worker in workers):
            worked_at = now
        wanted_at.append((now, min(decision.claim or 0, scaling.max)))
        if decision.cordon or decision.remove:
            lately = [count for when, count in wanted_at if when > now - STEADY]
            went = len(decision.cordon) + len(decision.remove)
            assert now - worked_at >= GRACE or len(workers) - went >= max(lately)


@dataclass
class Fleet:
    """A TaskQueue in small: jobs that wait, and workers that do what they are told at once."""

    waiting: int = 0
    running: dict[str, int] = field(default_factory=dict)
    """Workers with a job, and how many looks it still takes."""

    idle: set[str] = field(default_factory=set)
    starting: set[str] = field(default_factory=set)
    asked: int = 0
    room: int = 1000
    """Pods that a quota allows."""

    cordoned: set[str] = field(default_factory=set)
    made: int = 0
    done: int = 0

    @property
    def size(self) -> int:
        return len(self.running) + len(self.idle) + len(self.starting)

    def pass_time(self, *, arrived: int, length: int) -> None:
        self.make()
        self.waiting += arrived
        self.running = {name: left - 1 for name, left in self.running.items()}
        ended = {name for name, left in self.running.items() if left <= 0}
        self.done += len(ended)
        self.idle |= ended | self.starting
        self.starting = set()
        self.running = {name: left for name, left in self.running.items() if name not in ended}
        for name in sorted(self.idle - self.cordoned)[: self.waiting]:
            self.idle.remove(name)
            self.running[name] = length
            self.waiting -= 1

    def seen(self) -> Observation:
        workers = [
            *[ObservedWorker(name=name, state="busy", held=1) for name in self.running],
            *[
                ObservedWorker(name=name, state="idle", cordoned=name in self.cordoned)
                for name in self.idle
            ],
            *[ObservedWorker(name=name, state="starting", ready=False) for name in self.starting],
        ]
        return Observation(
            ready=self.waiting,
            workers=tuple(sorted(workers, key=lambda worker: worker.name)),
            replicas=self.asked,
            finished=self.done,
        )

    def make(self) -> None:
        """What Kubernetes does: as many pods as are asked for and allowed."""
        for _ in range(min(self.asked, self.room) - self.size):
            self.made += 1
            self.starting.add(f"w{self.made}")

    def carry_out(self, decision: Decision) -> None:
        assert decision.replicas is not None
        self.cordoned = (self.cordoned | set(decision.cordon)) - set(decision.uncordon)
        for name in decision.remove:
            assert name not in self.running
            self.idle.discard(name)
            self.starting.discard(name)
            self.cordoned.discard(name)
        self.asked = decision.replicas
        self.make()


COURSE = st.lists(
    st.tuples(ARRIVALS, st.integers(1, 5), STEPS),
    min_size=5,
    max_size=40,
)


@examples(300)
@given(course=COURSE, scaling=FOLLOWING)
def test_a_fleet_that_follows_keeps_its_jobs_and_does_not_flap(
    course: list[tuple[int, int, float]], scaling: Scaling
) -> None:
    """As many looks as one likes, each decision carried out: who was called up within `steadyFor`
    and had work within `idleGrace` is not sent away."""
    fleet, memory, now, came, worked_at = Fleet(), None, NOW, 0, NOW
    grown: list[tuple[float, int]] = []
    for arrived, length, elapsed in course:
        now += elapsed
        came += arrived
        fleet.pass_time(arrived=arrived, length=length)
        if fleet.waiting or fleet.running:
            worked_at = now
        before = fleet.size
        decision = decided(scaling, fleet.seen(), memory, now=now)
        memory = decision.memory
        fleet.carry_out(decision)
        if fleet.size > before:
            grown.append((now, fleet.size))
        if fleet.size < before:
            lately = [size for when, size in grown if when > now - STEADY]
            assert now - worked_at >= GRACE or fleet.size >= max(lately, default=0)
        assert fleet.size <= scaling.max
        assert fleet.size >= scaling.min
        assert came == fleet.waiting + len(fleet.running) + fleet.done
        assert fleet.size or not fleet.waiting, "who waits is not left alone"


@examples(300)
@given(course=COURSE, scaling=FOLLOWING, room=st.integers(1, 4))
def test_where_a_quota_allows_few_workers_those_few_work(
    course: list[tuple[int, int, float]], scaling: Scaling, room: int
) -> None:
    """Replicas without a pod hold up no job: whoever is there takes it at the next look."""
    fleet, memory, now = Fleet(room=room), None, NOW
    waited = 0
    for arrived, length, elapsed in course:
        now += elapsed
        fleet.pass_time(arrived=arrived, length=length)
        decision = decided(scaling, fleet.seen(), memory, now=now)
        memory = decision.memory
        fleet.carry_out(decision)
        is_idling = bool(fleet.waiting and fleet.cordoned & fleet.idle)
        waited = waited + 1 if is_idling else 0
        assert waited == 0, "a worker stays cordoned beside waiting jobs"
        assert fleet.size <= room
        if decision.wanted is not None:
            assert fleet.asked - fleet.size <= max(0, decision.wanted - fleet.size)
