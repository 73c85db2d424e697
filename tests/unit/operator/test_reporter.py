"""Statuses are written by a loop of their own."""

import asyncio

from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.world import World
from longshore_operator.trouble import Trouble
from tests.integration.operator.brokers import reporter
from tests.integration.operator.fakes import Hanging
from tests.integration.operator.task_queues import made, until


class Away:
    """No Broker answers, which is worth a status."""

    def session(self, name: str) -> None:
        return None

    def trouble(self, name: str) -> Trouble:
        return Trouble(reason="Unreachable", message="no answer")

    def sessions(self) -> dict[str, Session]:
        return {}


async def test_a_status_that_kubernetes_does_not_take_holds_up_no_other() -> None:
    kubernetes = Hanging(slow="slow")
    queues = {("media", name): [made(name)] for name in ("slow", "quick")}
    world = World(is_complete=True, queues=queues)
    loop = asyncio.create_task(reporter(Away(), world=world, kubernetes=kubernetes).run())
    try:

        async def is_written() -> bool:
            return "quick" in kubernetes.written

        await until(is_written, within=10)
        assert "slow" not in kubernetes.written
        kubernetes.go_on.set()

        async def are_written() -> bool:
            return "slow" in kubernetes.written

        await until(are_written, within=10)
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
