"""Events are transitions, and pods that were refused are tried again."""

import asyncio
import math
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from longshore.contract.features import features_of
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.reconciling.state import Reconciled
from longshore_operator.app.reporting.state import Reported
from longshore_operator.app.reporting.task_queues import TELL_AGAIN_AFTER, TaskQueueStatuses
from longshore_operator.app.scaling.obstacles import RETRY_PODS_EVERY, Obstacles
from longshore_operator.app.scaling.state import Scaled, ScalingRecord
from longshore_operator.app.scaling.warnings import Answer, Warnings
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject, task_queue
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.obstacles import REFUSED_AFTER, Since
from longshore_operator.core.scaling import Decision
from longshore_operator.core.scaling.sight import Sight
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.step import step
from longshore_operator.core.status import merge_patch
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from longshore_operator.trouble import Trouble
from tests.integration.operator.fakes import Kubernetes as Posting
from tests.unit.operator.kubernetes import Kubernetes
from tests.unit.operator.test_workers import pod as made

KEY = ("media", "work")
FAILED = Trouble(reason="FailedMount", message="no such volume")
CRASHED = Trouble(reason="WorkerCrashed", message="exit code 1")


STATE = ScalingState(tally=Tally(since=0), recent=Recent(since=0))
SPEC = TaskQueueSpec.model_validate(
    {"timeLimit": {"hard": "60s"}, "worker": {"image": "i", "handlers": ["m"]}}
)


async def nobody(address: str) -> Answer | None:
    return None


class Gone:
    """A Broker that does not answer: what else is known is told all the same."""

    def session(self, name: str) -> None:
        return None

    def trouble(self, name: str) -> Trouble | None:
        return Trouble(reason="Unreachable", message="no answer")

    def sessions(self) -> dict[str, Session]:
        return {}


@dataclass
class Desk:
    """Where a TaskQueue's status is written."""

    posting: Posting = field(default_factory=Posting)
    state: ScalingState = STATE
    reported: Reported = field(default_factory=Reported)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.queue: TaskQueueObject = task_queue(
            {
                "metadata": {"namespace": "media", "name": "work", "uid": "u", "generation": 1},
                "spec": {
                    "timeLimit": {"hard": "60s"},
                    "worker": {"image": "i", "handlers": ["m"]},
                },
            }
        )
        decision = Decision(replicas=1, wanted=1, why=("1 wanted",))
        self.state = replace(self.state, decision=decision)
        world = World(deployments={KEY: [DeploymentObject(replicas=1, uid="d")]})
        self.statuses = TaskQueueStatuses(
            workloads=Kubernetes().workloads(world),
            brokers=Gone(),
            cluster=self.posting,
            reconciled=lambda *_: Reconciled(),
            scaled=lambda *_: Scaled(state=self.state),
            now=lambda: "2026-01-01T00:00:00Z",
            clock=lambda: self.now,
            chance=lambda: 0.0,
        )

    async def say(self, obstacle: Trouble | None) -> None:
        """Write what holds the workers up, and have the watch show it."""
        self.state, self.now = replace(self.state, obstacle=obstacle), self.now + 1
        before = len(self.posting.statuses)
        await self.statuses.write(KEY, self.queue, self.reported)
        if len(self.posting.statuses) == before:
            return
        raw = dict(self.queue.raw_status)
        for name, part in self.posting.statuses[-1].items():
            raw[name] = {**raw.get(name, {}), **part} if isinstance(part, dict) else part
        assert merge_patch(self.queue.raw_status, raw), "news"
        body = {
            "metadata": {"namespace": "media", "name": "work", "uid": "u", "generation": 1},
            "spec": {"timeLimit": {"hard": "60s"}, "worker": {"image": "i", "handlers": ["m"]}},
            "status": raw,
        }
        self.queue = task_queue(body)


async def test_what_kubernetes_says_again_and_again_is_one_event() -> None:
    desk = Desk()
    for _ in range(10):
        await desk.say(FAILED)
        await desk.say(CRASHED)
        await desk.say(None)

    assert desk.posting.events.count("FailedMount") == 1
    assert desk.posting.events.count("WorkerCrashed") == 1
    desk.now += TELL_AGAIN_AFTER
    await desk.say(FAILED)
    assert desk.posting.events.count("FailedMount") == 2


class Back(Gone):
    """A Broker that answers again."""

    def __init__(self) -> None:
        features = features_of("4.3.6")
        link = SimpleNamespace(version="4.3.6", fleet=SimpleNamespace(reports=lambda _: {}))
        self.one = SimpleNamespace(alarm=None, link=link, features=features)

    def session(self, name: str) -> Any:
        return self.one

    def trouble(self, name: str) -> None:
        return None


async def test_a_broker_that_is_back_is_no_news_before_scaling_has_looked_at_the_queue() -> None:
    """Until then no number is known, and the status would lose those that it has."""
    desk, back = Desk(), Back()
    desk.statuses.brokers = back
    desk.statuses.reconciled = lambda *_: Reconciled(
        generation=1, session=cast("Session", back.one)
    )
    decided = desk.state.decision
    desk.state = replace(desk.state, decision=None, ready=None)
    await desk.say(None)
    assert desk.posting.statuses == []

    desk.state = replace(desk.state, decision=decided, ready=3)
    await desk.say(None)
    assert desk.posting.statuses[-1]["jobs"]["ready"] == 3


REFUSED = Trouble(reason="FailedCreate", message="exceeded quota")


@pytest.fixture
def record() -> ScalingRecord:
    return ScalingRecord(state=STATE)


async def test_pods_that_were_refused_are_tried_again_within_seconds(record: ScalingRecord) -> None:
    """Kubernetes itself waits ever longer, up to 17 minutes."""
    kubernetes = Kubernetes()
    obstacles = Obstacles(
        workloads=kubernetes.workloads(),
        warnings=Warnings(workloads=kubernetes.workloads(), ask=nobody),
        new_id=lambda: "one",
    )
    deployment = DeploymentObject(replicas=1, uid="d", refused=REFUSED)
    sight = Sight(key=KEY, deployment=deployment, pods=(), reports={}, now=0.0)

    def at(now: float) -> Sight:
        found = replace(sight, now=now, epoch=now)
        record.state = step(record.state, found, spec=SPEC, new_id=str).state
        return found

    for now in range(int(2 * RETRY_PODS_EVERY) + 1):
        await obstacles.retry_pods(at(float(now)), record)

    assert record.state.obstacle == REFUSED
    assert kubernetes.calls == ["retry media/work-worker"] * 2
    made = replace(deployment, refused=None)
    assert not obstacles.is_retry_due(replace(at(1000.0), deployment=made), record)
    assert record.state.since == Since(refused=0.0, unready=0.0)
    assert not math.isinf(record.retried_at)


@pytest.mark.parametrize(
    ("said", "is_rolling", "is_full"),
    [
        ("Kubernetes refuses pods: exceeded quota: few, requested: pods=1", True, True),
        ("Kubernetes refuses pods: exceeded quota: few, requested: pods=1", False, False),
        ("Kubernetes refuses pods: denied request: images must be signed", True, False),
    ],
)
def test_a_quota_is_a_ceiling_of_rollouts_and_another_refusal_is_none(
    record: ScalingRecord, said: str, is_rolling: bool, is_full: bool
) -> None:
    """To take a worker away makes room under a quota, and helps against nothing else."""
    refused = Trouble(reason="FailedCreate", message=said)
    deployment = DeploymentObject(replicas=2, uid="d", is_rolling=is_rolling, refused=refused)
    sight = Sight(key=KEY, deployment=deployment, pods=(), reports={}, now=0.0)
    for now in (0.0, REFUSED_AFTER, REFUSED_AFTER + 1):
        seen = replace(sight, now=now)
        record.state = step(record.state, seen, spec=SPEC, new_id=str).state

    assert (record.state.ceiling < SPEC.scaling.max) is is_full


async def test_who_does_not_answer_holds_up_nobody_and_is_asked_once(record: ScalingRecord) -> None:
    """As behind a NetworkPolicy."""
    asked, answers = list[str](), asyncio.Event()

    async def silent(address: str) -> Answer | None:
        asked.append(address)
        await answers.wait()
        return None

    kubernetes = Kubernetes()
    obstacles = Obstacles(
        workloads=kubernetes.workloads(),
        warnings=Warnings(workloads=kubernetes.workloads(), ask=silent),
        new_id=lambda: "one",
    )
    late = made("late", ready=False, unready_since=1.0, address="10.0.0.1")
    sight = Sight(key=KEY, deployment=None, pods=(late,), reports={}, now=100.0, epoch=100.0)

    assert obstacles.is_ask_due(sight, record)
    asking = asyncio.create_task(obstacles.ask(sight, record))
    await asyncio.sleep(0)
    assert not obstacles.is_ask_due(replace(sight, now=200.0, epoch=200.0), record)
    answers.set()
    await asking

    assert asked == ["10.0.0.1"]
    assert obstacles.is_ask_due(replace(sight, now=200.0, epoch=200.0), record)
