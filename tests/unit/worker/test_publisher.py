from __future__ import annotations

import asyncio
from typing import Any

import pika
import pytest

from longshore.amqp import publisher as module
from longshore.amqp.connection import Backoff
from longshore.amqp.dial import Dial
from longshore.amqp.errors import Unsendable
from longshore.amqp.publication import Publication
from longshore.amqp.publisher import MOST_STRIKES, Publisher
from tests.fuzz.broker import FakeBroker
from tests.unit.worker.channels import FakeChannel, FakeConnection


class Silent(FakeChannel):
    def confirm_delivery(self, *_: Any, **__: Any) -> None:
        pass


@pytest.mark.virtual_time
async def test_a_channel_that_is_given_up_takes_nothing_from_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = FakeConnection()

    async def connect(*_: Any, **__: Any) -> FakeConnection:
        return connection

    monkeypatch.setattr(Dial, "connect", connect)
    publisher = Publisher(pika.ConnectionParameters())
    running = asyncio.ensure_future(publisher.run())
    await connection.arrive(is_broken=True)
    monkeypatch.setattr("tests.unit.worker.channels.FakeChannel", Silent)
    silent = await connection.arrive()
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if not silent.is_open:
            break
    assert not silent.is_open
    monkeypatch.undo()
    await connection.arrive()
    publication = Publication(exchange="e", key="k", properties={}, body=b"")
    publishing = asyncio.ensure_future(publisher.publish(publication, wanted=lambda: True))
    await asyncio.sleep(0.01)
    silent.end(silent, RuntimeError("closed at last"))
    confirm = pika.frame.Method(3, pika.spec.Basic.Ack(delivery_tag=1))
    assert publisher._lane
    publisher._lane._on_confirm(confirm)
    assert await asyncio.wait_for(publishing, 0.1)
    assert not running.done()
    running.cancel()


class Soon(Backoff):
    def __init__(self, **_: Any) -> None:
        super().__init__(first=0.01, most=0.02)


async def test_a_message_over_which_the_connection_closes_is_found_out_and_others_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection is not a message's own: it takes more than one to be sure whose fault it is."""
    monkeypatch.setattr(module, "Backoff", Soon)
    async with FakeBroker().serving() as broker:
        broker.poison = {b"poison": 541}
        publisher = Publisher(broker.parameters)
        running = asyncio.ensure_future(publisher.run())

        def publish(body: bytes) -> asyncio.Future[bool]:
            publication = Publication(exchange="e", key="k", properties={}, body=body)
            return asyncio.ensure_future(publisher.publish(publication, wanted=lambda: True))

        bodies = [b"1", b"2", b"poison", b"3", b"4"]
        async with asyncio.timeout(10):
            ends = await asyncio.gather(*map(publish, bodies), return_exceptions=True)
        assert [end for end in ends if end is True] == [True] * 4
        assert isinstance(ends[2], Unsendable)
        assert "541" in str(ends[2])
        assert not running.done()
        running.cancel()
        await publisher.close()


async def test_a_broker_that_shuts_down_makes_no_message_unsendable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "Backoff", Soon)
    async with FakeBroker().serving() as broker:
        broker.poison = {b"job": 320}
        publisher = Publisher(broker.parameters)
        running = asyncio.ensure_future(publisher.run())
        publication = Publication(exchange="e", key="k", properties={}, body=b"job")
        publishing = asyncio.ensure_future(publisher.publish(publication, wanted=lambda: True))
        async with asyncio.timeout(10):
            while broker.connections <= MOST_STRIKES + 1:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        assert not publishing.done()
        broker.poison = {b"other": 320}
        assert await asyncio.wait_for(publishing, 10)
        running.cancel()
        await publisher.close()
