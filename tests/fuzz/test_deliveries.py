"""Deliveries of any content: each is settled once, and the next one is served."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import pika.exceptions
import pytest

from longshore.amqp import lane
from longshore.amqp.errors import Unsendable
from longshore.amqp.publication import Publication
from longshore.contract.names import JOBS_EXCHANGE
from longshore.contract.retry import RetryPolicy
from longshore.worker.limits import HandlerLimits
from longshore.worker.parent.broker.subscription import Delivery
from longshore.worker.parent.dispatch import Dispatch
from longshore.worker.parent.jobs.losses import Losses
from longshore.worker.parent.jobs.outcome import Judge
from longshore.worker.parent.telemetry.joblog import JobLog
from longshore.worker.parent.telemetry.metrics import Metrics
from longshore.worker.wire import frames
from longshore.worker.wire.frames import Ended, Status
from tests.fuzz import amqp
from tests.fuzz.conftest import Seeds
from tests.integration import topology
from tests.integration.conftest import Broker
from tests.integration.worker.workers import Bench, bench_for, wait_for

HANDLERS = {
    name: HandlerLimits(max_attempts=attempts, hard_limit=1.0)
    for name, attempts in (("work", 3), ("once", 1))
}


class Stage:
    """`Dispatch` with a broker, children and a clock that do as the dice say."""

    def __init__(self, dice: random.Random) -> None:
        self.settled: Counter[int] = Counter()
        self.published: list[Publication] = []
        self.dice = dice
        self.frame_max = dice.choice((4096, 131_072, 131_072))
        self.handed: list[Any] = []
        self.nack_is_free = dice.choice((False, True))
        pool: Any = SimpleNamespace(
            take_back=self._take_back, hand=self._hand, interrupt=lambda *_: None
        )
        publisher: Any = self
        self.dispatch = Dispatch(
            pool=lambda _: pool,
            publisher=publisher,
            judge=Judge(
                queue="q",
                host="h",
                retry=RetryPolicy(),
                handlers=HANDLERS,
                others=HandlerLimits(max_attempts=5, hard_limit=1.0),
                now=lambda: 10**12,
                chance=dice.random,
            ),
            losses=Losses(allowance=dice.randrange(3), clock=lambda: 0.0),
            observers=(
                Metrics(slots=1),
                JobLog(lambda _: None, task_queue="q", successes=True, now=lambda: 0.0),
            ),
            new_id=lambda: "id",
            on_change=(),
        )

    def ack(self, delivery: Delivery, *, may_wait: bool = False) -> None:
        self.settled[delivery.tag] += 1

    give_back = ack

    async def publish(self, publication: Publication, **_: Any) -> bool:
        lane._encodable(publication, frame_max=self.frame_max)
        if self.dice.random() < 0.1 and len(publication.properties) > 2:
            raise Unsendable("406 PRECONDITION_FAILED - whatever")
        self.published.append(publication)
        return True

    def _hand(self, work: Any) -> bool:
        frames._encode_head(work.frame())
        if self.dice.random() < 0.3:
            return False
        self.handed.append(work)
        return True

    def _take_back(self) -> list[Any]:
        back, self.handed = self.handed, []
        return back

    def end_some(self) -> None:
        while self.handed:
            work = self.handed.pop(0)
            status = self.dice.choice(list(Status))
            error = self.dice.choice((None, "boom", "\udcff", "x" * 50_000))
            self.dispatch.on_ended(work, Ended(work.ticket, status, 0.1, error, error, 3.0))


async def test_any_delivery_is_settled_once_and_none_disturbs_another(seeds: Seeds) -> None:
    bugs: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: bugs.append(told))
    for seed in seeds:
        dice = random.Random(seed)
        stage = Stage(dice)
        subscription: Any = stage
        headers = [_header(dice) for _ in range(dice.randrange(1, 12))]
        deliveries = [
            Delivery(subscription, tag, header, b"{}") for tag, header in enumerate(headers)
        ]
        stage.dispatch.on_deliveries(deliveries)
        stage.end_some()
        stage.dispatch.give_back_waiting()
        for _ in range(40):
            await asyncio.sleep(0)
        assert stage.dispatch.held == 0, seed
        assert stage.settled == Counter(range(len(deliveries))), seed
        assert bugs == [], seed


@pytest.mark.integration
def test_a_real_worker_settles_whatever_real_brokers_let_through(
    seeds: Seeds, broker: Broker, tmp_path: Path
) -> None:
    with bench_for(broker, tmp_path) as bench:
        topology.declare_queue(broker.channel, bench.queue)
        worker = bench.started(slots=2, prefetch=16, retry={"initial_delay": 0, "max_attempts": 2})
        producer = Producer(bench)
        for seed in seeds:
            for number in range(20):
                producer.publish(_header(random.Random(f"{seed}-{number}")))
            wait_for(lambda: bench.ready() == 0, why=worker.text)
            assert worker.process.poll() is None
        producer.close()
        assert producer.taken
        bench.enqueue("write", diary=bench.diary)
        worker.wait("job-settled", outcome="succeeded", handler="write", deadline=30)
        for event in ("consumer-lost", "publisher-lost", "connection-broken", "delivery-failed"):
            assert not worker.events(event), worker.events(event)
        assert worker.stop() == 0


def _header(dice: random.Random) -> bytes:
    handler = dice.choice((b"work", b"work", b"once", b"no.such", b"\xff", b"x" * 255))
    headers = dice.choice(
        (
            amqp.table(dice, depth=dice.choice((1, 3, 8)), width=dice.choice((2, 6))),
            amqp.table_of(n=amqp.nested(dice.choice((31, 32, 33, 900, 975, 1400)), kind="A")),
            amqp.table_of(
                n=amqp.nested(dice.choice((31, 200, 970)), kind="F"),
                t=b"T" + struct.pack(">Q", dice.choice((0, 10**9, 2**60))),
            ),
            amqp.table_of(big=b"S" + struct.pack(">I", 60_000) + b"x" * 60_000),
        )
    )
    if dice.random() < 0.5:
        header = amqp.job_properties(handler, headers=headers, message_id=dice.randbytes(4))
    else:
        # RabbitMQ refuses a foreign user's id, and ends what expires.
        without = (7, 11) if dice.random() < 0.9 else ()
        header = amqp.properties(dice, headers=headers, type_=handler, without=without)
    return amqp.damaged(dice, header) if dice.random() < 0.1 else header


class Producer:
    """Publishes what a broker takes; it closes connections over the rest."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._connection: Any = None
        self.taken = 0

    def publish(self, header: bytes) -> None:
        try:
            if self._connection is None or not self._connection.is_open:
                parameters = pika.URLParameters(self._bench.broker.amqp)
                self._connection = pika.BlockingConnection(parameters)
            channel = self._connection.channel()
            channel.confirm_delivery()
            properties = amqp.RawProperties(header)
            channel.basic_publish(
                JOBS_EXCHANGE, self._bench.queue, b"{}", properties, mandatory=True
            )
            channel.close()
            self.taken += 1
        except pika.exceptions.AMQPError:
            pass

    def close(self) -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()


@pytest.fixture(autouse=True)
def _no_traces_in_the_log() -> Iterator[None]:
    import logging

    logging.getLogger("longshore").setLevel(logging.CRITICAL)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("longshore").setLevel(logging.NOTSET)
