"""Brokers as the operator keeps them, with Kubernetes left out."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from longshore_operator.adapters.rabbitmq.link import connect
from longshore_operator.app.sessions.keeper import CONNECTING, Brokers
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import BrokerObject, broker
from longshore_operator.app.watched.world import World
from longshore_operator.core.trouble import Trouble
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.task_queues import until

SECRET = ("mq", "rabbit")


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
        now=lambda: "2026-01-01T00:00:00Z",
        chance=lambda: 0.0,
    )
    loop = asyncio.create_task(brokers.run())
    try:
        yield brokers
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def outcome(brokers: Brokers, name: str = "default") -> Session | Trouble:
    """What came of the first attempt."""

    async def look() -> Session | Trouble | None:
        trouble = brokers.trouble(name)
        return None if trouble == CONNECTING else trouble or brokers.session(name)

    found: Session | Trouble = await until(look, within=30)
    return found
