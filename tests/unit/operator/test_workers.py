"""What is asked of Kubernetes and of workers when a decision is carried out."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from longshore.contract.orders import UNDERSTOOD
from longshore.contract.reports import WorkerReport
from longshore_operator.app.scaling.execution import Execution
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.pods import CHEAPEST, Pod
from longshore_operator.core.kubernetes.rollout import Rollout, rollout
from longshore_operator.core.scaling import Decision, ObservedWorker
from longshore_operator.core.scaling.sight import Sight, asked_for
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.step import LEAVE_WITHIN, leaving, observed, ordered
from longshore_operator.core.workers.cordons import TRUSTED_FOR
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from longshore_operator.errors import UNREACHABLE, Transient
from tests.unit.operator.kubernetes import Kubernetes

KEY = ("media", "transcode")
EPOCH = 1_000_000.0
MOST = 30


def pod(name: str, **parts: Any) -> Pod:
    values = {"name": name, "running": True, "ready": True, "ending": False, "uid": f"uid-{name}"}
    return Pod(**{**values, **parts})


def report(name: str, **parts: Any) -> WorkerReport:
    values = {"queue": "q.q", "worker": name, "started_at": 0, "slots": 1, "busy": 0, "held": 0}
    values["understands"] = UNDERSTOOD
    return msgspec.convert(values | parts, WorkerReport)


STATE = ScalingState(tally=Tally(since=0), recent=Recent(since=0))


@dataclass
class Stage:
    """Two workers, `busy` and `idle`, and everything that a decision needs."""

    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    state: ScalingState = STATE
    pods: tuple[Pod, ...] = (pod("busy"), pod("idle"))
    deployment: DeploymentObject = field(
        default_factory=lambda: DeploymentObject(
            replicas=2, uid="d", generation=1, rollout=rollout(2, ceiling=MOST)
        )
    )
    ceiling: int = MOST
    told: list[tuple[str, str]] = field(default_factory=list)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.reports = {"busy": report("busy", busy=1, held=1), "idle": report("idle")}

    @property
    def sight(self) -> Sight:
        return Sight(
            key=KEY,
            deployment=self.deployment,
            pods=self.pods,
            reports=self.reports,
            now=self.now,
            epoch=EPOCH,
        )

    def observed(self) -> dict[str, ObservedWorker]:
        self.state = replace(self.state, leaving=leaving(self.state, self.sight))
        return {worker.name: worker for worker in observed(self.state, self.sight)}

    @property
    def replicas(self) -> int | None:
        return asked_for(self.deployment, self.state.asked)

    async def carry_out(self, *, replicas: int | None, **parts: Any) -> list[str]:
        """The calls that the decision led to."""
        self.decide(replicas=replicas, **parts)
        self.state, orders = ordered(self.state, self.sight, new_id=lambda: "one")
        self.told += [(worker, str(order.__struct_config__.tag)) for worker, order in orders]
        return await self.execute()

    def decide(self, *, replicas: int | None, **parts: Any) -> None:
        decision = Decision(**{"replicas": replicas, "why": ()} | parts)
        self.state = replace(self.state, decision=decision, ceiling=self.ceiling, hazard=None)

    async def execute(self, *, look_again: Callable[[], Sight] | None = None) -> list[str]:
        """The calls that carry out what was decided."""
        self.kubernetes.calls.clear()
        execution = Execution(
            workloads=self.kubernetes.workloads(),
            state=self.state,
            look_again=look_again or (lambda: self.sight),
        )
        try:
            await execution.scale(self.sight)
        finally:
            self.state = execution.state
        return self.kubernetes.calls

    async def cordon_idle(self) -> None:
        """`idle` is told to take no more jobs, and says that it does so."""
        assert await self.carry_out(replicas=2, cordon=("idle",)) == []
        self.reports["idle"] = report("idle", cordon="one")


@pytest.fixture
def stage() -> Stage:
    return Stage()


SHRUNK = [f"annotate idle {CHEAPEST}", "rescale media/transcode-worker from 2 to 1"]


async def test_a_worker_goes_once_it_has_said_that_it_is_cordoned_and_holds_nothing(
    stage: Stage,
) -> None:
    await stage.cordon_idle()

    assert stage.told == [("idle", "cordon")]
    assert stage.observed()["idle"].cordoned
    assert await stage.carry_out(replicas=1, remove=("idle",)) == SHRUNK


@pytest.mark.parametrize(
    "said",
    [
        report("idle"),
        report("idle", cordon="another"),
        report("idle", cordon="one", held=1),
        report("idle", cordon="one", busy=1),
    ],
    ids=["not-cordoned", "another-cordon", "holds-a-job", "runs-a-job"],
)
async def test_without_proof_nobody_goes_whatever_was_decided(
    stage: Stage, said: WorkerReport
) -> None:
    await stage.cordon_idle()
    stage.reports["idle"] = said

    assert await stage.carry_out(replicas=1, remove=("idle",)) == []


async def test_a_worker_that_fell_silent_does_not_go(stage: Stage) -> None:
    await stage.cordon_idle()
    del stage.reports["idle"]

    assert await stage.carry_out(replicas=1, remove=("idle",)) == []


async def test_nobody_goes_while_kubernetes_would_take_another_one_first(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.pods = (pod("busy", ready=False), pod("idle"))

    assert await stage.carry_out(replicas=1, remove=("idle",)) == []
    assert stage.state.hazard is not None
    assert "busy is not ready" in stage.state.hazard


async def test_a_pod_that_cannot_be_marked_does_not_go(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.kubernetes.failing = {"annotate"}

    assert await stage.carry_out(replicas=1, remove=("idle",)) == SHRUNK[:1]


async def test_a_mark_without_a_shrink_is_taken_off_again(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.kubernetes.failing = {"rescale"}
    with pytest.raises(Transient):
        await stage.carry_out(replicas=1, remove=("idle",))
    stage.pods = (pod("busy"), pod("idle", is_marked=True))
    stage.kubernetes.failing = set()

    assert await stage.carry_out(replicas=2, uncordon=("idle",)) == ["annotate idle None"]


async def test_a_shrink_that_failed_is_tried_again(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.kubernetes.failing = {"rescale"}
    with pytest.raises(Transient):
        await stage.carry_out(replicas=1, remove=("idle",))
    stage.pods = (pod("busy"), pod("idle", is_marked=True))
    stage.kubernetes.failing = set()

    assert await stage.carry_out(replicas=1, remove=("idle",)) == SHRUNK[1:]


async def test_who_is_going_is_neither_counted_nor_uncordoned_before_it_ends(stage: Stage) -> None:
    await stage.cordon_idle()
    await stage.carry_out(replicas=1, remove=("idle",))
    stage.pods = (pod("busy"), pod("idle", is_marked=True))

    assert set(stage.observed()) == {"busy"}
    assert stage.replicas == 1, "the watch is behind"
    assert await stage.carry_out(replicas=1) == []
    assert stage.told == [("idle", "cordon")]


async def test_who_was_to_go_but_stays_counts_again(stage: Stage) -> None:
    await stage.cordon_idle()
    await stage.carry_out(replicas=1, remove=("idle",))
    stage.now += LEAVE_WITHIN
    stage.pods = (pod("idle", is_marked=True),)
    stage.deployment = replace(
        stage.deployment, replicas=1, generation=2, rollout=rollout(1, ceiling=MOST)
    )

    assert set(stage.observed()) == {"idle"}
    assert await stage.carry_out(replicas=1, uncordon=("idle",)) == ["annotate idle None"]
    assert stage.told[-1] == ("idle", "uncordon")


async def test_a_pod_that_has_no_process_yet_needs_no_proof(stage: Stage) -> None:
    stage.pods = (pod("busy"), pod("idle", running=False, ready=False))
    del stage.reports["idle"]

    assert stage.observed()["idle"].state == "starting"
    assert await stage.carry_out(replicas=1, remove=("idle",)) == SHRUNK


async def test_more_workers_are_asked_for_in_one_call(stage: Stage) -> None:
    assert await stage.carry_out(replicas=20) == ["rescale media/transcode-worker from 2 to 20"]
    assert stage.replicas == 20, "the watch is behind"


async def test_a_deployment_made_anew_counts_by_itself(stage: Stage) -> None:
    await stage.carry_out(replicas=20)
    stage.deployment = DeploymentObject(
        replicas=0, uid="another", generation=1, rollout=rollout(0, ceiling=MOST)
    )

    assert stage.replicas == 0
    assert await stage.carry_out(replicas=20) == ["rescale media/transcode-worker from 0 to 20"]


async def test_a_mark_that_cannot_be_taken_off_keeps_nobody_from_coming(stage: Stage) -> None:
    stage.pods = (pod("busy"), pod("gone", is_marked=True))
    stage.kubernetes.failing = {"annotate"}

    calls = await stage.carry_out(replicas=20)
    assert calls == ["annotate gone None", "rescale media/transcode-worker from 2 to 20"]


async def test_a_worker_that_has_not_heard_that_its_pod_ends_is_told(stage: Stage) -> None:
    stage.pods = (pod("busy", ending=True), pod("idle", ending=True))
    stage.reports["idle"] = report("idle", draining=True)

    assert await stage.carry_out(replicas=None) == []
    assert stage.told == [("busy", "drain")]


async def test_a_decision_to_hold_does_nothing(stage: Stage) -> None:
    assert await stage.carry_out(replicas=None) == []
    assert stage.told == []


async def test_a_rollout_that_fits_is_not_written_again(stage: Stage) -> None:
    assert await stage.carry_out(replicas=2) == []


@pytest.mark.parametrize("replicas", [2, None], ids=["as it is", "held"])
async def test_a_lower_ceiling_leaves_a_rollout_less_room(
    stage: Stage, replicas: int | None
) -> None:
    stage.ceiling = 2

    assert await stage.carry_out(replicas=replicas) == [
        "rescale media/transcode-worker from 2 to 2"
    ]
    assert stage.kubernetes.rollout == Rollout(surge=0, unavailable=1)
    assert await stage.carry_out(replicas=replicas) == [], "the watch is behind"


async def test_a_rollout_that_somebody_else_changed_is_put_right(stage: Stage) -> None:
    stage.deployment = replace(stage.deployment, rollout=None)

    assert len(await stage.carry_out(replicas=2)) == 1
    assert stage.kubernetes.rollout == Rollout(surge=1, unavailable=0)


async def test_the_number_and_its_rollout_are_written_in_one_call(stage: Stage) -> None:
    assert len(await stage.carry_out(replicas=MOST)) == 1
    assert stage.kubernetes.rollout == Rollout(surge=0, unavailable=1)


@pytest.mark.parametrize("reason", ["DryRun", "ForeignAutoscaler"])
async def test_a_deployment_that_is_left_alone_keeps_its_rollout(stage: Stage, reason: str) -> None:
    stage.ceiling = 2
    stage.decide(replicas=None, why=("",), holds=reason)

    assert await stage.execute() == []


def test_a_workers_own_word_counts_before_kubernetes_has_noticed_that_it_runs(
    stage: Stage,
) -> None:
    stage.pods = (pod("busy", running=False, ready=False, created=EPOCH - 5),)

    worker = stage.observed()["busy"]

    assert (worker.state, worker.held, worker.ready, worker.age) == ("busy", 1, False, 5.0)


def test_a_running_pod_that_says_nothing_is_unknown(stage: Stage) -> None:
    stage.reports.clear()

    assert stage.observed()["idle"].state == "unknown"


async def test_nobody_goes_while_one_that_only_its_own_word_shows_would_go_first(
    stage: Stage,
) -> None:
    await stage.cordon_idle()
    stage.pods = (pod("busy", running=False, ready=False), pod("idle"))

    assert await stage.carry_out(replicas=1, remove=("idle",)) == []


async def test_who_takes_a_job_while_it_is_marked_stays(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.decide(replicas=1, remove=("idle",))

    def look_again() -> Sight:
        return replace(
            stage.sight, reports={**stage.reports, "idle": report("idle", cordon="one", held=1)}
        )

    assert await stage.execute(look_again=look_again) == SHRUNK[:1]
    assert stage.state.leaving == {}


async def test_a_word_that_is_too_old_by_the_time_of_the_shrink_does_not_count(
    stage: Stage,
) -> None:
    await stage.cordon_idle()
    stage.decide(replicas=1, remove=("idle",))

    def later() -> Sight:
        return replace(stage.sight, now=stage.now + TRUSTED_FOR)

    assert await stage.execute(look_again=later) == SHRUNK[:1]


async def test_who_is_to_go_stays_cordoned_while_kubernetes_is_behind(stage: Stage) -> None:
    await stage.cordon_idle()
    await stage.carry_out(replicas=1, remove=("idle",))
    stage.pods = (pod("busy"), pod("idle", is_marked=True))
    stage.now += 10 * LEAVE_WITHIN

    assert set(stage.observed()) == {"busy"}
    assert await stage.carry_out(replicas=1) == []
    assert ("idle", "uncordon") not in stage.told


async def test_an_operator_that_has_just_started_knows_by_the_mark_who_is_to_go(
    stage: Stage,
) -> None:
    stage.pods = (pod("busy"), pod("idle", is_marked=True))
    stage.reports["idle"] = report("idle", cordon="of the operator before")
    stage.deployment = replace(stage.deployment, replicas=1, rollout=rollout(1, ceiling=MOST))

    assert set(stage.observed()) == {"busy"}
    assert await stage.carry_out(replicas=1) == []
    assert stage.told == [("idle", "cordon")]


async def test_a_shrink_without_an_answer_may_have_been_done(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.kubernetes.failing, stage.kubernetes.reason = {"rescale"}, UNREACHABLE
    with pytest.raises(Transient):
        await stage.carry_out(replicas=1, remove=("idle",))

    assert set(stage.observed()) == {"busy"}
    stage.now += LEAVE_WITHIN
    assert set(stage.observed()) == {"busy", "idle"}, "it was not done"


@pytest.mark.parametrize(("is_observed", "expected"), [(True, {"busy", "idle"}), (False, {"busy"})])
async def test_a_rollouts_surge_is_no_reason_to_lose_a_worker(
    stage: Stage, is_observed: bool, expected: set[str]
) -> None:
    """A mark from a shrink that came to nothing, and one pod more than asked for."""
    stage.pods = (pod("busy"), pod("idle", is_marked=True))
    stage.deployment = replace(
        stage.deployment,
        replicas=1,
        is_rolling=True,
        is_observed=is_observed,
        rollout=rollout(1, ceiling=MOST),
    )

    assert set(stage.observed()) == expected


@pytest.mark.parametrize(
    "change", [{"is_rolling": True}, {"replicas": 1}], ids=["a-rollout-began", "one-less-already"]
)
async def test_nobody_goes_when_the_deployment_has_changed_meanwhile(
    stage: Stage, change: dict[str, Any]
) -> None:
    await stage.cordon_idle()
    stage.decide(replicas=1, remove=("idle",))

    def changed() -> Sight:
        return replace(stage.sight, deployment=replace(stage.deployment, **change))

    assert await stage.execute(look_again=changed) == SHRUNK[:1]
