"""The audit ends when it is told to."""

import asyncio

import pytest

from longshore_operator.app.audit import Audit
from longshore_operator.app.watched.world import World
from tests.unit.operator.kubernetes import Kubernetes

pytestmark = pytest.mark.virtual_time


async def test_it_ends_though_it_is_woken_in_the_same_moment() -> None:
    audit = Audit(world=World(), cluster=Kubernetes())
    running = asyncio.create_task(audit.run())
    await asyncio.sleep(0)

    audit.wake()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(running), 0.5)
