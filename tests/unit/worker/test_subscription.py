"""When acks are sent: at once where RabbitMQ is to send more, together where that can wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from longshore.amqp.channel import Channel
from longshore.amqp.connection import Connection
from longshore.worker.parent.broker.subscription import ACK_DELAY, Delivery, Subscription

pytestmark = pytest.mark.virtual_time


class FakeChannel:
    is_open = True

    def __init__(self) -> None:
        self.sent: list[list[tuple[int, bool]]] = []
        self.told: list[str] = []
        """What was done, in order."""

    def on_end(self, _: Any) -> None:
        pass

    def send_acks(self, acks: list[tuple[int, bool]], nacks: list[tuple[int, bool]]) -> None:
        assert not nacks
        self.sent.append(acks)
        if acks:
            self.told.append(f"ack {acks}")

    def cancel(self, _: str, *, on_cancelled: Callable[[], None]) -> None:
        self.told.append("cancel")
        on_cancelled()

    def consume_again(
        self, *_: object, tag: str, on_started: Callable[[], None], prefetch: int
    ) -> None:
        self.told.append(f"consume {prefetch}")
        on_started()

    def close(self) -> None:
        self.told.append("close")
        self.is_open = False


class FakeConnection:
    features = SimpleNamespace(nack_is_free=True)

    async def answer(self, waiting: asyncio.Future[None], *, of: object) -> None:
        await waiting

    def leave(self, _: object) -> None:
        pass


class Stage:
    def __init__(self, *, parks: bool = False) -> None:
        self.channel = FakeChannel()
        arrived: list[Delivery] = []
        self.subscription = Subscription(
            cast("Connection", FakeConnection()),
            cast("Channel", self.channel),
            prefetch=8,
            parks=parks,
            on_deliveries=arrived.extend,
            on_lost=lambda _: None,
        )
        self.subscription._on_arrivals([(tag, b"", b"", False) for tag in (1, 2, 3, 4)])
        self.deliveries = arrived

    def ack(self, index: int, *, may_wait: bool) -> None:
        self.subscription.ack(self.deliveries[index], may_wait=may_wait)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_what_may_wait_is_sent_together_after_a_moment(stage: Stage) -> None:
    stage.ack(0, may_wait=True)
    await asyncio.sleep(0)
    stage.ack(1, may_wait=True)
    await asyncio.sleep(0)
    assert stage.channel.sent == []
    await asyncio.sleep(ACK_DELAY * 2)
    assert stage.channel.sent == [[(2, True)]]


async def test_one_that_may_not_wait_takes_the_others_along(stage: Stage) -> None:
    stage.ack(0, may_wait=True)
    stage.ack(1, may_wait=False)
    stage.ack(2, may_wait=True)
    await asyncio.sleep(0)
    assert stage.channel.sent == [[(3, True)]]
    await asyncio.sleep(ACK_DELAY * 2)
    assert stage.channel.sent == [[(3, True)]]


async def test_the_next_after_those_sent_early_may_wait_again(stage: Stage) -> None:
    stage.ack(0, may_wait=False)
    await asyncio.sleep(0)
    stage.ack(1, may_wait=True)
    await asyncio.sleep(0)
    assert stage.channel.sent == [[(1, False)]]
    await asyncio.sleep(ACK_DELAY * 2)
    assert stage.channel.sent == [[(1, False)], [(2, False)]]


async def test_what_waits_is_sent_when_the_connection_is_to_close(stage: Stage) -> None:
    stage.ack(0, may_wait=True)
    stage.subscription.flush()
    assert stage.channel.sent == [[(1, False)]]


async def settled() -> None:
    """Let what is due happen."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_that_is_parked_never_has_room_for_a_delivery() -> None:
    """An ack makes room: it is sent between a cancellation and the next consumer."""
    stage = Stage(parks=True)
    await stage.subscription.retire(silence=0.0)
    await settled()
    assert stage.channel.told == ["cancel", "consume 4"]

    stage.ack(0, may_wait=True)
    await settled()
    assert stage.channel.told[2:] == ["cancel", "ack [(1, False)]", "consume 3"]

    for index in (1, 2, 3):
        stage.ack(index, may_wait=False)
    await settled()
    assert stage.channel.told[5:] == ["cancel", "ack [(4, True)]", "close"]


async def test_one_that_is_parked_sends_its_acks_before_the_connection_closes() -> None:
    stage = Stage(parks=True)
    await stage.subscription.retire(silence=0.0)
    await settled()

    stage.ack(0, may_wait=True)
    await stage.subscription.leave()
    await settled()

    assert stage.channel.told[2:] == ["cancel", "ack [(1, False)]"]


async def test_one_without_deliveries_or_need_is_not_parked() -> None:
    stage = Stage()
    await stage.subscription.retire(silence=0.0)
    await settled()
    assert stage.channel.told == ["cancel"]
