"""Brokers that stall, hang up or talk nonsense after any byte: one connection is lost, no more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest

from longshore.amqp import channel, connection, dial, lane, publisher
from longshore.amqp.dial import Dial
from longshore.amqp.errors import Lost
from longshore.amqp.publication import Publication
from longshore.amqp.publisher import Publisher
from longshore.worker.parent.broker import consumer, subscription
from longshore.worker.parent.broker import operator_line as line
from longshore.worker.parent.broker.consumer import Consumer
from longshore.worker.parent.broker.operator_line import Line
from longshore.worker.parent.broker.subscription import Delivery
from tests.fuzz.broker import Ending, FakeBroker, Fault
from tests.fuzz.conftest import Seeds
from tests.integration import certificates

AT_ONCE = 100
"""Connections that are tried together."""


class _Soon(connection.Backoff):
    def __init__(self, **_: Any) -> None:
        super().__init__(first=0.02, most=0.05)


class Bugs:
    """What asyncio was told of exceptions that nobody caught: each would end the worker."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: self.found.append(told))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths, and pika does not tell of each failure six times."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    monkeypatch.setattr(dial, "OPEN_TIMEOUT", 0.3)
    monkeypatch.setattr(dial, "LEAST_SHARE", 0.3)
    monkeypatch.setattr(dial, "SLOWEST_RETRY", 0.05)
    monkeypatch.setattr(channel, "ANSWER_TIMEOUT", 0.3)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(lane, "CONFIRM_TIMEOUT", 0.3)
    monkeypatch.setattr(subscription, "CANCEL_TIMEOUT", 0.3)
    for each in (consumer, publisher, line):
        monkeypatch.setattr(each, "Backoff", _Soon)


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.usefixtures("impatient")
async def test_a_handshake_that_ends_at_any_byte_costs_that_attempt_alone(ending: Ending) -> None:
    async with FakeBroker().serving() as broker:
        await _end_at_each_byte(broker, broker.parameters, ending, every=1)


@pytest.mark.parametrize("ending", list(Ending))
@pytest.mark.usefixtures("impatient")
async def test_a_handshake_within_tls_may_end_at_any_byte_too(
    ending: Ending, tmp_path: Path
) -> None:
    made = certificates.make(tmp_path / "made", names="DNS:localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made / "server.pem", made / "server.key")
    client = ssl.create_default_context(cafile=str(made / "ca.pem"))
    async with FakeBroker().serving(tls=server) as broker:
        parameters = broker.parameters
        parameters.host = "localhost"
        parameters.ssl_options = pika.SSLOptions(client)
        await _end_at_each_byte(broker, parameters, ending, every=7)


async def _end_at_each_byte(
    broker: FakeBroker, parameters: pika.ConnectionParameters, ending: Ending, *, every: int
) -> None:
    bugs = Bugs()
    good = await Dial(parameters, purpose="test").connect()
    positions = list(range(0, broker.said, every))
    await good.close()
    descriptors = _descriptors()
    for first in range(0, len(positions), AT_ONCE):
        some = positions[first : first + AT_ONCE]
        faults = iter([Fault(at, ending, b"\xff" * 40) for at in some])
        # One that was given up may be accepted late, among the next ones.
        broker.fault = partial(next, faults, Fault(0, ending))
        ends = await asyncio.gather(*(_attempt(parameters) for _ in some))
        assert all(isinstance(end, Lost) for end in ends), ends
    await _until(lambda: _descriptors() <= descriptors)
    broker.fault = lambda: None
    await (await Dial(parameters, purpose="test").connect()).close()
    assert bugs.found == []


@pytest.mark.usefixtures("impatient")
async def test_what_a_broker_says_in_any_state_costs_one_connection(seeds: Seeds) -> None:
    """Consumer, publisher and line at work on connections that end anywhere, in any way."""
    bugs = Bugs()
    async with FakeBroker().serving() as broker:
        broker.patience = 0.4
        for seed in seeds:
            dice = random.Random(seed)
            faults = _faults(dice)
            broker.fault = partial(next, faults, None)
            async with _Parts(broker.parameters).running() as parts:
                await parts.all_is_well()
            assert bugs.found == [], seed


class _Parts:
    """What a worker has on its connections, without the jobs."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self.consumer = Consumer(parameters, self, queue="q", prefetch=4, ack_timeout=60)
        self.line = Line(on_order=lambda _: None)
        self.publisher = Publisher(parameters, beside=self.line.keep)
        self.mine: list[Delivery] = []
        self.rounds = 0

    def on_void(self, deliveries: list[Delivery]) -> None:
        pass

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        self.mine += deliveries
        for delivery in deliveries[::2]:
            delivery.subscription.ack(delivery)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[_Parts]:
        tasks = [asyncio.ensure_future(each.run()) for each in (self.consumer, self.publisher)]
        tasks.append(asyncio.ensure_future(self._steer()))
        tasks.append(asyncio.ensure_future(self._report()))
        try:
            yield self
        finally:
            ended = [task for task in tasks if task.done()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(self.consumer.close(), self.publisher.close())
            assert not ended, ended

    async def all_is_well(self) -> None:
        """Whatever was before, a publication arrives and jobs come again."""
        publication = Publication(exchange="e", key="k", properties={}, body=b"x" * 5000)
        async with asyncio.timeout(30):
            assert await self.publisher.publish(publication, wanted=lambda: True)
            await _until(lambda: any(each.void is None for each in self.mine))

    async def _steer(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            await self.consumer.pause()
            await self.consumer.resume(3)
            await self.consumer.cordon()
            await self.consumer.uncordon(4)

    async def _report(self) -> None:
        while True:
            self.line.report("e", "k", b"{}")
            for delivery in self.mine[1::4]:
                if (
                    delivery.void is None
                    and delivery.tag in delivery.subscription._settlements._open
                ):
                    delivery.subscription.give_back(delivery)
            await asyncio.sleep(0.005)


def _faults(dice: random.Random) -> Iterator[Fault]:
    for _ in range(dice.randrange(2, 8)):
        at = dice.choice((dice.randrange(420), dice.randrange(420, 1400)))
        garbage = dice.choice(
            (
                dice.randbytes(dice.randrange(200)),
                b"\x01\0\1" + dice.randbytes(4) + dice.randbytes(60),
                b"\x02\0\1\0\0\0\x02\xff\xff\xce",
                b"\x03\0\1\0\0\0\x00\xce",
                b"AMQP\0\0\x09\x01",
                b"\x08\0\0\0\0\0\0\xce" * 20,
                b"\x01\0\1\0\0\0\x08" + dice.randbytes(8) + b"\xce",
                b"\x01\0\0\xff\xff\xff\xff" + bytes(4096),
            )
        )
        yield Fault(at, dice.choice(list(Ending)), garbage)


async def _attempt(parameters: pika.ConnectionParameters) -> object:
    try:
        connection = await Dial(parameters, purpose="test").open()
    except Lost as error:
        return error
    await connection.close()
    return connection


async def _until(what: Any, *, within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not what():  # noqa: ASYNC110 - it may be anything
            await asyncio.sleep(0.01)


def _descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))
