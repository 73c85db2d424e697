"""TaskQueues without workers are looked at between two ticks."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import pytest

from longshore.amqp.publication import Properties
from longshore.contract.names import JOBS_EXCHANGE
from longshore_operator.adapters.kubernetes.probe import ask
from longshore_operator.app.scaling import sleepers
from longshore_operator.app.scaling.census import Census
from longshore_operator.app.scaling.depths import Readings
from longshore_operator.app.scaling.limits import CurrentLimits
from longshore_operator.app.scaling.loop import Scaler
from longshore_operator.app.scaling.obstacles import Obstacles
from longshore_operator.app.scaling.protection import Protection
from longshore_operator.app.scaling.sleepers import MOST, Sleepers
from longshore_operator.app.scaling.warnings import Warnings
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.plugins import scaling_policies
from tests.integration.operator.brokers import opened
from tests.integration.operator.operating import OneBroker, Operating
from tests.integration.operator.task_queues import made, until


class Watch:
    """Looks when it is told to, and keeps who was woken."""

    def __init__(self, operating: Operating, group: asyncio.TaskGroup) -> None:
        self.operating, self.group = operating, group
        self.woken = dict[str, int]()
        self.sleepers = Sleepers(
            world=operating.world,
            workloads=operating.workloads,
            brokers=OneBroker(operating.session),
            states=operating.records,
            reconciled=operating.reconciler.seen,
        )

    def wake(self, key: Key, depth: Depth) -> None:
        self.woken[key[1]] = depth.ready

    async def look(self, *, skip: tuple[str, ...] = ()) -> Mapping[str, int]:
        """All who were woken so far."""
        self.sleepers.look(self.wake, skip=skip, group=self.group)
        await asyncio.gather(*self.sleepers._looks.values())
        return self.woken


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


@pytest.fixture
async def watch(operating: Operating) -> AsyncIterator[Watch]:
    async with asyncio.TaskGroup() as group:
        yield Watch(operating, group)


async def asleep(operating: Operating, *names: str) -> None:
    """TaskQueues that were looked at, and had nothing to do."""
    for name in names:
        await operating.ready(made(name))
        note_ready(operating, name, 0)


def note_ready(operating: Operating, name: str, ready: int | None) -> None:
    """So many jobs waited at the last look."""
    record = operating.records.of(("media", name), made(name))
    record.state = dataclasses.replace(record.state, ready=ready)


async def publish(operating: Operating, name: str, *, jobs: int = 1) -> None:
    channel = await opened(operating.session)._connection.channel()
    for _ in range(jobs):
        channel.publish(JOBS_EXCHANGE, made(name).owner.queue, b"", Properties())
    channel.close()


async def published(operating: Operating, name: str, *, jobs: int = 1) -> None:
    """They stand in the queue."""
    await publish(operating, name, jobs=jobs)
    queue = made(name).owner.queue

    async def stand() -> bool:
        return (await operating.session.link.depths.read([queue]))[queue] == Depth(
            ready=jobs, consumers=0
        )

    await until(stand)


async def test_who_has_a_job_is_woken(operating: Operating, watch: Watch) -> None:
    await asleep(operating, "full", "empty")
    assert await watch.look() == {}

    await published(operating, "full", jobs=3)

    assert await watch.look() == {"full": 3}


@pytest.mark.parametrize("why", ["has jobs", "unknown", "has a worker", "is acting", "is going"])
async def test_who_does_not_sleep_is_left_to_the_ticks(
    operating: Operating, watch: Watch, why: str
) -> None:
    await asleep(operating, "awake")
    match why:
        case "has jobs":
            note_ready(operating, "awake", 1)
        case "unknown":
            note_ready(operating, "awake", None)
        case "has a worker":
            worker = Pod(name="worker", running=False, ready=False, ending=False)
            operating.world.all_pods = {("media", "awake"): [worker]}
        case "is acting":
            operating.records.of(("media", "awake"), made("awake")).is_acting = True
        case _:
            going = dataclasses.replace(made("awake"), is_deleting=True)
            operating.queues["media", "awake"] = [going]

    await published(operating, "awake")

    assert await watch.look() == {}


async def test_a_broker_that_owes_an_answer_is_not_asked(
    operating: Operating, watch: Watch
) -> None:
    await asleep(operating, "full")
    await published(operating, "full")

    assert await watch.look(skip=("default",)) == {}
    assert watch.sleepers._looks == {}


async def test_of_many_all_have_their_turn(
    operating: Operating, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST > 1
    monkeypatch.setattr(sleepers, "MOST", 1)
    await asleep(operating, "one", "two", "three")
    for name in ("one", "two", "three"):
        await published(operating, name)

    found = [len(await watch.look()) for _ in range(3)]

    assert found == [1, 2, 3]


async def test_a_first_job_does_not_wait_for_the_next_tick(
    operating: Operating, session: Session
) -> None:
    queue = made("full")
    await operating.ready(queue)
    operating.kubernetes.deployments["media", "full-worker"] = {"metadata": {}, "spec": {}}
    operating.world.deployments = {("media", "full"): [DeploymentObject(replicas=0, uid="one")]}
    scaler = scaling(operating, session, interval=3600.0)
    loop = asyncio.create_task(scaler.run())
    try:

        async def is_looked_at() -> bool:
            return operating.records.of(("media", "full"), queue).state.ready == 0

        await until(is_looked_at)
        await publish(operating, "full")

        async def is_scaled() -> bool:
            return "scale full-worker to 1" in operating.kubernetes.writes

        await until(is_scaled)
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def scaling(operating: Operating, session: Session, *, interval: float) -> Scaler:
    """The operator's scaler as `run` makes it."""
    world, workloads, brokers = operating.world, operating.workloads, OneBroker(session)
    return Scaler(
        world=world,
        brokers=brokers,
        workloads=workloads,
        states=operating.records,
        reconciled=operating.reconciler.seen,
        doubt=operating.reconciler.doubt,
        readings=Readings(brokers=brokers),
        census=Census(world=world, workloads=workloads),
        obstacles=Obstacles(
            workloads=workloads,
            warnings=Warnings(workloads=workloads, ask=ask),
            new_id=lambda: "one",
        ),
        sleepers=Sleepers(
            world=world,
            workloads=workloads,
            brokers=brokers,
            states=operating.records,
            reconciled=operating.reconciler.seen,
        ),
        protection=Protection(world=world, workloads=workloads),
        limits=CurrentLimits(today=lambda: datetime.now(UTC), budgets={}),
        policies=scaling_policies(),
        clock=time.monotonic,
        epoch=time.time,
        new_id=lambda: "one",
        interval=interval,
        last_tick=time.monotonic(),
        ticked=lambda *, took, interval: None,
    )
