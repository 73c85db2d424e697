"""What a session believes of RabbitMQ while others read, write and doubt."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from longshore.contract.features import features_of
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.sessions.session import INVENTORY_AGE, Session
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.topology import QueueDefinition, Topology


class RabbitMQ:
    """Its readings end when they are let."""

    def __init__(self) -> None:
        self.readings = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.fails = False

    async def inventory(self) -> Inventory:
        self.readings += 1
        found = Inventory(
            exchanges={},
            queues={},
            bindings=set(),
            policies={},
            states={},
            password_hashes={},
            permissions={},
        )
        await self.may_end.wait()
        if self.fails:
            raise ConnectionError
        return found


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Session, RabbitMQ, Clock]:
    rabbitmq, clock = RabbitMQ(), Clock()
    spec = BrokerSpec.model_validate({"secretRef": {"name": "rabbit", "namespace": "mq"}})
    session = Session(
        spec=spec,
        address=cast("Any", None),
        features=features_of("4.3.6"),
        link=cast("Any", SimpleNamespace(management=rabbitmq)),
        clock=clock,
    )
    return session, rabbitmq, clock


async def test_one_reading_serves_all_who_waited_for_it_however_long_it_took() -> None:
    session, rabbitmq, clock = made()
    rabbitmq.may_end.clear()
    asking = [asyncio.create_task(session.inventory(max_age=1.0)) for _ in range(20)]
    await asyncio.sleep(0)
    clock.now += 10
    rabbitmq.may_end.set()

    await asyncio.gather(*asking)

    assert rabbitmq.readings == 1


async def test_a_doubt_during_a_reading_asks_for_another() -> None:
    session, rabbitmq, _ = made()
    rabbitmq.may_end.clear()
    first = asyncio.create_task(session.inventory())
    await asyncio.sleep(0)
    session.doubt()
    second = asyncio.create_task(session.inventory())
    rabbitmq.may_end.set()

    assert await first is not await second
    assert rabbitmq.readings == 2


async def test_what_is_written_during_a_reading_is_not_forgotten() -> None:
    session, rabbitmq, _ = made()
    rabbitmq.may_end.clear()
    reading = asyncio.create_task(session.inventory())
    await asyncio.sleep(0)
    queue = QueueDefinition(name="media.transcode")
    session.note(lambda read: read.add(Topology(queues=(queue,))))
    rabbitmq.may_end.set()

    assert (await reading).queues == {"media.transcode": queue}


async def test_a_reading_that_failed_makes_an_old_one_no_younger() -> None:
    session, rabbitmq, clock = made()
    await session.inventory()
    clock.now += INVENTORY_AGE + 1
    rabbitmq.fails = True

    for _ in range(2):
        failed = await asyncio.gather(session.inventory(), return_exceptions=True)
        assert isinstance(failed[0], ConnectionError)


async def test_a_young_reading_is_not_repeated() -> None:
    session, rabbitmq, clock = made()
    await session.inventory()
    clock.now += INVENTORY_AGE - 1
    await session.inventory()
    assert rabbitmq.readings == 1

    await session.inventory(max_age=1.0)
    assert rabbitmq.readings == 2


async def test_who_takes_an_older_reading_waits_for_no_younger_one() -> None:
    session, rabbitmq, clock = made()
    old = await session.inventory()
    clock.now += 1
    rabbitmq.may_end.clear()
    patrol = asyncio.create_task(session.inventory(max_age=0.0))
    await asyncio.sleep(0)

    assert await asyncio.wait_for(session.inventory(), timeout=1) is old
    rabbitmq.may_end.set()
    assert await patrol is not old
