"""Channels that close, open and are given up in the wrong moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pika
import pytest

from longshore.amqp.dial import Dial
from longshore.amqp.inbound import Arrival
from longshore.worker.parent.broker.consumer import Consumer
from longshore.worker.parent.broker.subscription import Delivery
from tests.unit.worker.channels import FakeChannel, FakeConnection

pytestmark = pytest.mark.virtual_time


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connection = FakeConnection()
        self.arrived: list[Delivery] = []
        self.voided: list[Delivery] = []

        async def connect(*_: Any, **__: Any) -> FakeConnection:
            return self.connection

        monkeypatch.setattr(Dial, "connect", connect)
        self.consumer = Consumer(
            pika.ConnectionParameters(), self, queue="q", prefetch=2, ack_timeout=60
        )
        self.running = asyncio.ensure_future(self.consumer.run())

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.arrived += deliveries

    def on_void(self, deliveries: list[Delivery]) -> None:
        self.voided += deliveries

    def deliver(self, channel: FakeChannel) -> Delivery:
        arrival: Arrival = (1, b"\0\0", b"{}", False)
        self.connection.listeners[channel.channel_number]([arrival])
        return self.arrived[-1]


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    stage = Stage(monkeypatch)
    yield stage
    stage.running.cancel()


async def test_the_late_end_of_an_old_channel_takes_nothing_from_the_new(stage: Stage) -> None:
    old = await stage.connection.arrive()
    first = stage.deliver(old)
    old.end(old, RuntimeError("gone"))
    new = await stage.connection.arrive()
    second = stage.deliver(new)
    old.end(old, RuntimeError("gone at last"))
    assert stage.voided == [first]
    assert second.void is None
    assert new.is_open


async def test_a_channel_that_closes_as_it_opens_is_tried_again(stage: Stage) -> None:
    await stage.connection.arrive(is_broken=True)
    channel = await stage.connection.arrive()
    assert channel.consumers == ["q"]
    assert not stage.running.done()


async def test_a_drain_overtakes_a_subscription(stage: Stage) -> None:
    await asyncio.wait_for(stage.consumer.drain(), 1)
    late = await stage.connection.arrive()
    assert not late.consumers
    assert not late.is_open


async def test_a_drain_waits_for_a_pause_that_is_under_way(stage: Stage) -> None:
    channel = await stage.connection.arrive()
    pausing = asyncio.ensure_future(stage.consumer.pause())
    await asyncio.sleep(0)
    await stage.consumer.drain()
    assert pausing.done()
    assert not channel.consumers


async def test_a_channel_that_comes_for_a_lost_pause_is_closed(stage: Stage) -> None:
    first = await stage.connection.arrive()
    delivery = stage.deliver(first)
    await stage.consumer.pause()
    resuming = asyncio.ensure_future(stage.consumer.resume(1))
    await asyncio.sleep(0.01)
    first.end(first, RuntimeError("gone"))
    late = await stage.connection.arrive()
    await resuming
    new = await stage.connection.arrive()
    assert stage.voided == [delivery]
    assert (late.consumers, new.consumers) == ([], ["q"])
    assert stage.deliver(new).subscription.is_current
    assert not delivery.subscription.is_current


async def test_two_who_consume_anew_at_once_make_one_consumer(stage: Stage) -> None:
    await stage.connection.arrive()
    await stage.consumer.pause()
    resuming = [asyncio.ensure_future(stage.consumer.resume(number)) for number in (1, 2)]
    await asyncio.sleep(0.01)
    channels = [await stage.connection.arrive() for _ in resuming]
    await asyncio.gather(*resuming)

    assert [channel.consumers for channel in channels] == [["q"], []]
    assert [channel.is_open for channel in channels] == [True, False]


async def test_a_cordon_overtakes_a_subscription(stage: Stage) -> None:
    await asyncio.wait_for(stage.consumer.cordon(), 1)
    late = await stage.connection.arrive()
    assert not late.consumers
    assert stage.consumer.is_consuming


async def test_a_cordoned_worker_that_lost_its_channel_gets_no_consumer_again(
    stage: Stage,
) -> None:
    first = await stage.connection.arrive()
    delivery = stage.deliver(first)
    await stage.consumer.cordon()
    first.end(first, RuntimeError("gone"))
    await asyncio.sleep(0.3)
    assert stage.voided == [delivery]
    assert len(stage.connection.channels) == 1

    resuming = asyncio.ensure_future(stage.consumer.uncordon(2))
    new = await stage.connection.arrive()
    await resuming
    assert new.consumers == ["q"]
