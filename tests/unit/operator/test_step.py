"""One step of scaling by named cases: what is seen, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.kubernetes.rollout import rollout
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.scaling import Decision, Limit
from longshore_operator.core.scaling.sight import Asked, Sight
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.step import ScalingPlan, step
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from tests.unit.operator.test_workers import pod, report

NOW, EPOCH = 1_000.0, 1_800_000_000.0
START = ScalingState(tally=Tally(since=0), recent=Recent(since=0))


def spec(**scaling: Any) -> TaskQueueSpec:
    """Follows the backlog, one worker a job, and lets idle workers go at once."""
    quick = {"policy": "backlog", "max": 10, "idleGrace": "0s", "steadyFor": "0s", "minLife": "0s"}
    return TaskQueueSpec.model_validate(
        {
            "timeLimit": {"hard": "60s"},
            "worker": {"image": "i", "handlers": ["m"]},
            "scaling": {**quick, **scaling},
        }
    )


def deployment(replicas: int, **parts: Any) -> DeploymentObject:
    values = {"uid": "d", "generation": 1, "rollout": rollout(replicas, ceiling=10)}
    return DeploymentObject(replicas=replicas, **{**values, **parts})


def depth(ready: int, *, consumers: int = 0) -> Depth:
    return Depth(ready=ready, consumers=consumers)


@dataclass(kw_only=True)
class Case:
    """What is seen, and what is expected of the step."""

    pods: tuple[Pod, ...] = ()
    reports: Mapping[str, WorkerReport] = field(default_factory=dict)
    deployment: DeploymentObject | None = field(default_factory=lambda: deployment(0))
    jobs: Depth | Missing | None = field(default_factory=lambda: depth(0))
    spec: TaskQueueSpec | None = field(default_factory=spec)
    seen: dict[str, Any] = field(default_factory=dict)
    state: ScalingState = START
    replicas: int | None = None
    holds: str | None = None
    orders: tuple[tuple[str, str], ...] = ()
    is_doubted: bool = False

    def step(self) -> ScalingPlan:
        sight = Sight(
            key=("media", "work"),
            deployment=self.deployment,
            pods=self.pods,
            reports=self.reports,
            now=NOW,
            epoch=EPOCH,
            queue="media.work",
            jobs=self.jobs,
            **self.seen,
        )
        return step(self.state, sight, spec=self.spec, new_id=lambda: "one")


IDLE = {"a": report("a"), "b": report("b")}
TWO = (pod("a"), pod("b"))
ASKED = Asked(replicas=4, rollout=rollout(4, ceiling=10), generation=2, uid="d")

CASES = {
    "nothing to do": Case(replicas=0),
    "jobs wait": Case(jobs=depth(3), replicas=3),
    "more jobs than there may be workers": Case(jobs=depth(99), replicas=10),
    "more were asked for, and the watch has not shown it": Case(
        jobs=depth(4), state=replace(START, asked=ASKED), replicas=4
    ),
    "a Deployment made anew counts by itself": Case(
        jobs=depth(4),
        deployment=deployment(0, uid="another"),
        state=replace(START, asked=ASKED),
        replicas=4,
    ),
    "the depth is unknown": Case(jobs=None, holds="DepthUnknown"),
    "the queue is missing": Case(jobs=Missing(), holds="DepthUnknown", is_doubted=True),
    "the dead-letter queue is missing": Case(seen={"dead": Missing()}, replicas=0, is_doubted=True),
    "the Deployment is not known yet": Case(deployment=None, holds="DeploymentUnknown"),
    "the Deployment should be there": Case(
        deployment=None, seen={"is_overdue": True}, holds="DeploymentUnknown", is_doubted=True
    ),
    "a quorum queue without a leader counts nothing": Case(
        jobs=depth(0), pods=TWO, reports=IDLE, deployment=deployment(2), holds="DepthUnknown"
    ),
    "idle workers are cordoned before they go": Case(
        jobs=depth(0, consumers=2),
        pods=TWO,
        reports=IDLE,
        deployment=deployment(2),
        replicas=2,
        orders=(("a", "cordon"), ("b", "cordon")),
    ),
    "of two workers one is busy": Case(
        jobs=depth(0, consumers=2),
        pods=TWO,
        reports={"a": report("a", busy=1, held=1), "b": report("b")},
        deployment=deployment(2),
        replicas=2,
    ),
    "a worker with a stranger's cordon is told to work": Case(
        jobs=depth(9, consumers=1),
        pods=TWO,
        reports={"a": report("a", cordon="another"), "b": report("b")},
        deployment=deployment(2),
        replicas=9,
        orders=(("a", "uncordon"),),
    ),
    "a worker has not heard that its pod ends": Case(
        jobs=depth(0, consumers=1),
        pods=(pod("a", ending=True),),
        reports={"a": report("a")},
        replicas=0,
        orders=(("a", "drain"),),
    ),
    "somebody else sets the number": Case(
        jobs=depth(5), seen={"autoscaler": "theirs"}, holds="ForeignAutoscaler"
    ),
    "a dry run": Case(jobs=depth(5), spec=spec(dryRun=True), holds="DryRun"),
    "paused": Case(jobs=depth(5), spec=spec(paused=True), holds="Paused"),
    "a policy that is not installed": Case(spec=spec(policy="mine"), holds="PolicyUnknown"),
    "a window raises the floor": Case(seen={"limits": (Limit(name="night", floor=4),)}, replicas=4),
    "a budget lowers the ceiling": Case(
        jobs=depth(9),
        seen={"limits": (Limit(name="budget 'gpu'", ceiling=2, is_share=True),)},
        replicas=2,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_seen_leads_to_a_decision_and_to_orders(case: Case) -> None:
    after = case.step()

    decision = after.state.decision
    assert decision is not None
    assert (decision.replicas, decision.holds) == (case.replicas, case.holds)
    assert (
        tuple((worker, order.__struct_config__.tag) for worker, order in after.orders)
        == case.orders
    )
    assert after.is_doubted is case.is_doubted


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_step_changes_nothing_that_it_was_given(case: Case) -> None:
    before = repr(case.state)

    assert case.step() == case.step()
    assert repr(case.state) == before


@pytest.mark.parametrize(
    "change",
    [{"spec": None}, {"seen": {"is_declared": False}}],
    ids=["no spec or no Broker", "not declared"],
)
def test_where_nothing_can_be_known_nothing_is_decided(change: dict[str, Any]) -> None:
    after = Case(jobs=depth(5), **change).step()

    assert after.state.decision is None
    assert after.orders == ()


def test_a_broker_that_cannot_be_reached_makes_the_numbers_unknown() -> None:
    known = replace(
        START, ready=5, dead=2, decision=Decision(replicas=5, why=()), unanswered_since=1.0
    )

    after = Case(spec=None, state=known).step().state

    assert (after.ready, after.decision, after.unanswered_since) == (None, None, None)
    assert after.dead == 2, "dead letters are looked at now and then only"


def test_a_new_step_forgets_what_kept_the_last_decision_from_being_carried_out() -> None:
    assert Case(state=replace(START, hazard="x")).step().state.hazard is None
