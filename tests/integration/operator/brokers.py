"""Brokers as the operator keeps them, with Kubernetes left out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from longshore_operator.adapters.rabbitmq.link import RabbitMQ, connect
from longshore_operator.app.reconciling.state import Reconciled
from longshore_operator.app.reporting.brokers import BrokerStatuses
from longshore_operator.app.reporting.loop import StatusReporter
from longshore_operator.app.reporting.task_queues import TaskQueueStatuses
from longshore_operator.app.scaling.state import Scaled, begun
from longshore_operator.app.sessions.keeper import CONNECTING, Brokers
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.watched.objects import BrokerObject, TaskQueueObject, broker
from longshore_operator.app.watched.world import Key, World
from longshore_operator.trouble import Trouble
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.task_queues import until

SECRET = ("mq", "rabbit")
NOW = "2026-01-01T00:00:00Z"


def registered(name: str = "default", *, generation: int = 1, **spec: Any) -> BrokerObject:
    """A Broker as the cluster shows it."""
    found = broker(
        {
            "metadata": {"name": name, "uid": f"uid-{name}", "generation": generation},
            "spec": {"secretRef": {"namespace": SECRET[0], "name": SECRET[1]}, **spec},
        }
    )
    assert found is not None
    return found


@asynccontextmanager
async def keeping(
    *objects: BrokerObject, kubernetes: Kubernetes, world: World | None = None
) -> AsyncIterator[Brokers]:
    """The loop over Brokers, while the block lasts."""
    world = world or World(is_complete=True)
    world.registered = {each.name: [each] for each in objects}
    brokers = Brokers(
        world=world,
        cluster=kubernetes,
        connect=connect,
        clock=time.monotonic,
        chance=lambda: 0.0,
    )
    parts = (brokers, reporter(brokers, world=world, kubernetes=kubernetes))
    loops = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield brokers
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def reporter(
    brokers: Sessions,
    *,
    world: World,
    kubernetes: Kubernetes,
    reconciled: Callable[[Key, TaskQueueObject], Reconciled] = lambda *_: Reconciled(),
    scaled: Callable[[Key, TaskQueueObject], Scaled] = lambda _, found: begun(found, since=0).seen,
) -> StatusReporter:
    """The loop that writes every status."""
    statuses = TaskQueueStatuses(
        workloads=kubernetes.workloads(world),
        brokers=brokers,
        cluster=kubernetes,
        reconciled=reconciled,
        scaled=scaled,
        now=lambda: NOW,
        clock=time.monotonic,
        chance=lambda: 0.0,
    )
    return StatusReporter(
        world=world,
        task_queues=statuses,
        brokers=BrokerStatuses(world=world, keeper=brokers, cluster=kubernetes, now=lambda: NOW),
        interval=0.1,
    )


def opened(session: Session) -> RabbitMQ:
    """The link that the session has: these tests are given a real one."""
    assert isinstance(session.link, RabbitMQ)
    return session.link


async def outcome(brokers: Brokers, name: str = "default") -> Session | Trouble:
    """What came of the first attempt."""

    async def look() -> Session | Trouble | None:
        trouble = brokers.trouble(name)
        return None if trouble == CONNECTING else trouble or brokers.session(name)

    found: Session | Trouble = await until(look, within=30)
    return found
