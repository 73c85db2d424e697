"""A broker's name with several addresses, of which some do not answer."""

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from longshore.amqp import dial as amqp
from longshore.amqp.dial import OPEN_TIMEOUT
from longshore.amqp.errors import Lost
from longshore_operator.adapters.rabbitmq import dial
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.rabbitmq.topology import QueueDefinition, Topology
from longshore_operator.errors import Transient
from tests.integration.operator.brokers import opened
from tests.integration.operator.task_queues import until

PID = os.getpid()
SILENT = f"127.{1 + (PID >> 16 & 127)}.{PID >> 8 & 255}.{PID & 255}"
"""An address of loopback that no other process of tests listens at."""


@pytest.fixture
def two(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """A name with two addresses: behind the first, TCP stands and nothing is ever said."""
    resolve = socket.getaddrinfo

    def answer(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "two.test":
            return resolve(host, *arguments, **options)
        both = (SILENT, session.address.host)
        return [record for each in both for record in resolve(each, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(amqp, "_answered", {})
    with socket.create_server((SILENT, session.address.port)):
        yield replace(session.address, host="two.test")


async def test_an_address_that_says_nothing_leaves_time_for_the_next(two: Address) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    first = await dial.connect_amqp(two, name="test", heartbeat=30.0)
    assert OPEN_TIMEOUT / 2 <= loop.time() - began < OPEN_TIMEOUT
    began = loop.time()
    second = await dial.connect_amqp(two, name="test", heartbeat=30.0)
    assert loop.time() - began < OPEN_TIMEOUT / 2, "the address that answered last comes first"
    await first.close()
    await second.close()


async def test_the_error_says_how_far_the_attempt_at_each_address_got(two: Address) -> None:
    with pytest.raises(Transient) as caught:
        await dial.connect_amqp(replace(two, password="wrong"), name="test", heartbeat=30.0)
    assert f"AMQP at two.test:{two.port}: {SILENT}: no connection within" in str(caught.value)
    assert "TCP is connected, but the broker has sent nothing" in str(caught.value)
    assert "127.0.0.1: refused: 403 ACCESS_REFUSED" in str(caught.value)
    assert "wrong" not in str(caught.value)


async def test_a_callback_that_fails_ends_its_connection_and_what_waits_on_it(
    session: Session,
) -> None:
    connection = await dial.connect_amqp(session.address, name="test", heartbeat=30.0)
    channel = await connection.channel()
    channel._channel.basic_qos(callback=lambda _: 1 / 0)
    with pytest.raises(Lost, match="ZeroDivisionError"):
        await channel.declare_exclusive()
    assert not connection.is_open


async def test_a_channel_that_nobody_waits_for_any_more_is_closed(session: Session) -> None:
    connection = await dial.connect_amqp(session.address, name="test", heartbeat=30.0)
    for _ in range(3):
        opening = asyncio.ensure_future(connection.channel())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    async def are_closed() -> bool:
        return not connection._connection._channels

    await until(are_closed)
    assert connection.is_open
    await connection.close()


async def test_consumers_that_the_broker_has_cancelled_are_not_waited_for(
    session: Session,
) -> None:
    await session.management.create(Topology(queues=(QueueDefinition(name="gone"),)))
    link = opened(session)
    async with asyncio.timeout(5), link.scrutiny() as look:
        assert await look.is_empty("gone", dead_letters=False)
        await session.management.delete_queue("gone")
        channel = look._watched["gone"].channel._channel

        async def are_cancelled() -> bool:
            return not channel.consumer_tags

        await until(are_cancelled)
        look._watched["gone"].deliveries.append(0)  # 0: all, of which there are none
