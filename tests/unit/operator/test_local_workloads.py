"""The operator's loops reconcile and scale workers that are no pods of Kubernetes."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from longshore.contract.orders import CordonOrder, Order, UncordonOrder
from longshore.contract.reports import WorkerReport
from longshore_operator.app.reconciling.state import Reconciled, Reconciliation
from longshore_operator.app.reconciling.workload import WorkloadReconciler
from longshore_operator.app.scaling.census import Census
from longshore_operator.app.scaling.depths import Readings
from longshore_operator.app.scaling.limits import CurrentLimits
from longshore_operator.app.scaling.loop import Scaler
from longshore_operator.app.scaling.obstacles import Obstacles
from longshore_operator.app.scaling.protection import Protection
from longshore_operator.app.scaling.sleepers import Sleepers
from longshore_operator.app.scaling.state import begun
from longshore_operator.app.scaling.warnings import Answer, Warnings
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.scaling.policies import BUILT_IN
from longshore_operator.trouble import Trouble
from tests.unit.operator.specs import V4_3
from tests.unit.operator.test_queues import ADDRESS, BROKER, Keyring, made
from tests.unit.operator.test_workers import report
from tests.unit.operator.workloads import InMemory

KEY = ("media", "transcode")
QUICK = {"max": 4, "policy": "backlog", "idleGrace": 0, "steadyFor": 0, "minLife": 0}


@dataclass
class Line:
    """RabbitMQ between the operator and its workers, which obey at once."""

    workloads: InMemory
    ready: int = 0
    held: dict[str, int] = field(default_factory=dict)
    """Jobs of each worker that has any."""

    cordons: dict[str, str] = field(default_factory=dict)

    async def read(self, queues: Iterable[str], *, channels: int = 1) -> Mapping[str, Depth]:
        consumers = len(self.workloads.workers(KEY))
        return {
            queue: Depth(ready=self.ready if queue == "media.transcode" else 0, consumers=consumers)
            for queue in queues
        }

    def reports(self, queue: str) -> Mapping[str, WorkerReport]:
        return {
            worker.name: report(
                worker.name,
                held=self.held.get(worker.name, 0),
                busy=self.held.get(worker.name, 0),
                cordon=self.cordons.get(worker.name),
            )
            for worker in self.workloads.workers(KEY)
        }

    def order(self, order: Order, *, queue: str, worker: str) -> None:
        if isinstance(order, CordonOrder):
            self.cordons[worker] = order.id
        elif isinstance(order, UncordonOrder):
            self.cordons.pop(worker, None)

    def forget_silent(self) -> None:
        return


@dataclass
class Brokers:
    """One session."""

    one: Session

    def session(self, name: str) -> Session | None:
        return self.one

    def sessions(self) -> dict[str, Session]:
        return {"default": self.one}

    def trouble(self, name: str) -> Trouble | None:
        return None


async def nobody(address: str) -> Answer | None:
    return None


class Local:
    """An operator whose workers run wherever `InMemory` has them."""

    def __init__(self, queue: TaskQueueObject) -> None:
        self.queue, self.now, self.workloads = queue, 1000.0, InMemory()
        self.line, self.keyring = Line(self.workloads), Keyring()
        self.world = World(is_complete=True, queues={KEY: [queue]})
        self.state = Reconciliation()
        link = SimpleNamespace(depths=self.line, fleet=self.line, management=None)
        self.session = Session(
            spec=BROKER,
            address=ADDRESS,
            features=V4_3,
            link=cast("Any", link),
            clock=lambda: self.now,
        )
        self.reconciler = WorkloadReconciler(
            world=self.world,
            workloads=self.workloads,
            events=self.keyring,
            clock=lambda: self.now,
        )
        self.scaler = self._scaler()

    def _scaler(self) -> Scaler:
        world, workloads, brokers = self.world, self.workloads, Brokers(self.session)
        numbers = itertools.count(1)
        records = States(new=lambda found: begun(found, since=0))
        assert self.queue.spec is not None
        limits = timeouts(self.queue.spec, features=V4_3)
        seen = Reconciled(generation=1, session=self.session, is_declared=True, timeouts=limits)
        return Scaler(
            world=world,
            brokers=brokers,
            workloads=workloads,
            states=records,
            reconciled=lambda *_: seen,
            doubt=lambda *_: None,
            readings=Readings(brokers=brokers),
            census=Census(world=world, workloads=workloads),
            obstacles=Obstacles(
                workloads=workloads,
                warnings=Warnings(workloads=workloads, ask=nobody),
                new_id=lambda: "one",
            ),
            sleepers=Sleepers(
                world=world,
                workloads=workloads,
                brokers=brokers,
                states=records,
                reconciled=lambda *_: seen,
            ),
            protection=Protection(world=world, workloads=workloads),
            limits=CurrentLimits(today=lambda: datetime.now(UTC), budgets={}),
            policies=BUILT_IN,
            clock=lambda: self.now,
            epoch=lambda: self.now,
            new_id=lambda: f"cordon-{next(numbers)}",
            interval=1.0,
            last_tick=0.0,
            ticked=lambda *, took, interval: None,
        )

    async def reconcile(self, *, is_repair: bool = False) -> None:
        await self.reconciler.reconcile(
            self.queue, state=self.state, session=self.session, is_repair=is_repair
        )

    async def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1.0
            async with asyncio.TaskGroup() as group:
                await self.scaler.tick(group)

    @property
    def workers(self) -> list[str]:
        return [worker.name for worker in self.workloads.workers(KEY)]


@pytest.fixture
async def local() -> Local:
    local = Local(made(scaling=QUICK))
    await local.reconcile()
    return local


async def test_workers_are_what_the_spec_says_and_there_are_none_at_first(local: Local) -> None:
    assert local.workloads.images == {KEY: "media:1"}
    assert local.workers == []
    assert local.state.worker_trouble is None
    assert local.state.placed == {"workers of transcode": "media:1"}


async def test_workers_come_for_jobs_that_wait(local: Local) -> None:
    local.line.ready = 3
    await local.tick()

    assert local.workers == ["transcode-1", "transcode-2", "transcode-3"]


async def test_those_that_are_idle_are_retired_and_no_other(local: Local) -> None:
    local.line.ready = 3
    await local.tick()
    local.line.ready, local.line.held = 0, {"transcode-2": 1}
    await local.tick(30)

    assert local.workers == ["transcode-2"]
    assert sorted(local.workloads.ended) == ["transcode-1", "transcode-3"]
    assert set(local.line.cordons) >= {"transcode-1", "transcode-3"}, "proved idle before it went"
    local.line.held = {}
    await local.tick(30)
    assert local.workers == []


async def test_a_worker_is_protected_while_it_has_a_long_job(local: Local) -> None:
    local.line.ready = 1
    await local.tick()
    local.line.ready, local.line.held = 0, {"transcode-1": 1}
    await local.tick(2)

    (worker,) = local.workloads.workers(KEY)
    assert worker.is_protected


async def test_evictions_are_bounded_once_there_are_workers(local: Local) -> None:
    assert not local.state.is_protected
    local.line.ready = 1
    await local.tick()
    await local.reconcile()

    assert local.state.is_protected
    assert local.keyring.reasons == []


async def test_what_others_have_changed_of_the_workers_is_reported(local: Local) -> None:
    local.workloads.images[KEY] = "theirs:1"
    await local.reconcile(is_repair=True)

    assert local.workloads.images == {KEY: "media:1"}
    assert local.keyring.reasons == ["DriftRepaired"]
