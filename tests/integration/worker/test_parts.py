"""The worker's consumer and publisher in this process, on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pika
import pytest

from longshore.amqp.errors import Unsendable
from longshore.amqp.publication import Publication
from longshore.amqp.publisher import Publisher
from longshore.contract.names import JOBS_EXCHANGE
from longshore.worker.parent.broker.consumer import Consumer
from longshore.worker.parent.broker.subscription import Delivery
from tests.integration import topology
from tests.integration.conftest import Broker
from tests.integration.relay import Relay

pytestmark = pytest.mark.integration

QUEUE = "test.parts"

POISON: dict[str, dict[str, Any]] = {
    "another's user": {"user_id": "somebody"},
    "no expiration": {"expiration": "soon"},
    "no reply-to": {"reply_to": "amq.rabbitmq.reply-to"},
    "no list of keys": {"headers": {"CC": "elsewhere"}},
}
"""Properties over which RabbitMQ closes the channel, by what is wrong with them."""


@pytest.fixture
def queue(broker: Broker) -> str:
    topology.declare_queue(broker.channel, QUEUE)
    broker.channel.queue_purge(QUEUE)
    return QUEUE


@pytest.fixture
async def bugs() -> list[dict[str, Any]]:
    """What would have ended the worker."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: found.append(told))
    return found


async def test_a_message_over_which_the_channel_closes_is_found_out_and_others_arrive(
    broker: Broker, queue: str, bugs: list[dict[str, Any]]
) -> None:
    async with _running(Publisher(pika.URLParameters(broker.amqp))) as publisher:

        def publish(name: str, properties: dict[str, Any]) -> asyncio.Task[bool]:
            publication = Publication(
                exchange=JOBS_EXCHANGE,
                key=queue,
                properties={"message_id": name, **properties},
                body=b"{}",
            )
            return asyncio.ensure_future(publisher.publish(publication, wanted=lambda: True))

        innocent = [publish(f"i-{number}", {}) for number in range(5)]
        guilty = [publish(name, properties) for name, properties in POISON.items()]
        innocent += [publish(f"i-{number}", {}) for number in range(5, 10)]
        async with asyncio.timeout(30):
            assert await asyncio.gather(*innocent) == [True] * 10
            ends = await asyncio.gather(*guilty, return_exceptions=True)
    assert {type(end) for end in ends} == {Unsendable}, ends
    assert all("406" in str(end) for end in ends), ends
    arrived = {
        properties.message_id
        for _, properties, _ in iter(lambda: broker.channel.basic_get(queue, True), (None,) * 3)
    }
    assert {f"i-{number}" for number in range(10)} == arrived
    assert bugs == []


async def test_a_connection_that_ends_with_two_subscriptions_costs_its_deliveries_alone(
    broker: Broker, queue: str, bugs: list[dict[str, Any]]
) -> None:
    """One is retired and has a job that still runs, the other is its successor."""
    for _ in range(2):
        broker.channel.basic_publish(JOBS_EXCHANGE, queue, b"{}")
    mine: list[Delivery] = []
    gone: list[Delivery] = []
    with Relay(broker.amqp) as relay:
        parameters = pika.URLParameters(relay.url)
        listener = _Listener(on_deliveries=mine.extend, on_void=gone.extend)
        consumer = Consumer(parameters, listener, queue=queue, prefetch=1, ack_timeout=600)
        async with _running(consumer):
            await _until(lambda: len(mine) == 1)
            await consumer.pause()
            await consumer.resume(1)
            await _until(lambda: len(mine) == 2)
            mine[0].subscription.ack(mine[0])  # and not yet sent as the connection ends
            relay.cut()
            await _until(lambda: len(gone) >= 1 and len(mine) >= 3)
        assert mine[1].void is not None
    assert bugs == []


async def test_nothing_is_sent_over_channels_whose_connection_has_ended(
    broker: Broker, queue: str, bugs: list[dict[str, Any]]
) -> None:
    """Acks, cancellations and reports at any moment of pika's teardown."""
    mine: list[Delivery] = []
    with Relay(broker.amqp) as relay:
        parameters = pika.URLParameters(relay.url)

        def settle(deliveries: list[Delivery]) -> None:
            for delivery in deliveries:
                delivery.subscription.ack(delivery)
                delivery.subscription.flush()

        listener = _Listener(on_deliveries=mine.extend, on_void=settle)
        consumer = Consumer(parameters, listener, queue=queue, prefetch=4, ack_timeout=600)
        async with _running(consumer):
            for _ in range(3):
                for _ in range(4):
                    broker.channel.basic_publish(JOBS_EXCHANGE, queue, b"{}")
                await _until(lambda: len(mine) >= 4)
                pausing = asyncio.ensure_future(consumer.pause())
                relay.cut()
                await pausing
                await _until(lambda: consumer.is_consuming)
                settle(mine)
                mine.clear()
    assert bugs == []


@dataclass
class _Listener:
    on_deliveries: Callable[[list[Delivery]], None]
    on_void: Callable[[list[Delivery]], None]


@contextlib.asynccontextmanager
async def _running(part: Any) -> AsyncIterator[Any]:
    running = asyncio.ensure_future(part.run())
    try:
        yield part
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await part.close()


async def _until(what: Any, *, within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not what():  # noqa: ASYNC110 - it may be anything
            await asyncio.sleep(0.01)
