"""Each Broker is looked at by itself."""

import asyncio
from typing import Any, cast

from longshore_operator.app.reconciling.patrol import Patrol
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.sessions.session import INVENTORY_AGE, Session
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.states import States
from longshore_operator.app.watched.world import World
from longshore_operator.errors import Transient
from longshore_operator.trouble import Trouble
from tests.integration.operator.fakes import Kubernetes


class Asked:
    """A session that counts how often its vhost was read, and may hang."""

    owner = ""

    def __init__(self, *, hangs: bool) -> None:
        self.reads, self.failed = 0, 0
        self.answer = asyncio.Event()
        if not hangs:
            self.answer.set()

    async def inventory(self, *, max_age: float) -> Any:
        assert max_age == 0.0
        self.reads += 1
        await self.answer.wait()
        raise Transient("it answers, and that is enough here", reason="Unreachable")

    def note_patrol(self, *, failed: bool) -> None:
        self.failed += failed


class Two:
    """Brokers, one of which hangs."""

    def __init__(self) -> None:
        self.slow, self.quick = Asked(hangs=True), Asked(hangs=False)

    def sessions(self) -> dict[str, Session]:
        both = {"slow": self.slow, "quick": self.quick}
        return {name: cast("Session", each) for name, each in both.items()}

    def session(self, name: str) -> Session | None:
        return self.sessions().get(name)

    def trouble(self, name: str) -> Trouble | None:
        return None


async def test_a_broker_that_hangs_keeps_no_other_from_being_looked_at() -> None:
    now, brokers, world = [0.0], Two(), World(is_complete=True)
    patrol = Patrol(
        world=world,
        brokers=brokers,
        vhosts=Vhosts(world=world, cluster=Kubernetes()),
        workloads=Kubernetes().workloads(world),
        states=States(new=lambda _: Reconciliation()),
        clock=lambda: now[0],
    )
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            patrol.look(group)
            patrol.look(group)
            for _ in range(10):
                await asyncio.sleep(0)
            now[0] += INVENTORY_AGE + 1

        assert (brokers.slow.reads, brokers.quick.reads) == (1, 3)
        assert brokers.quick.failed == 3
        brokers.slow.answer.set()
