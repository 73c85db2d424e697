"""Every mutable setting takes effect on a live queue with jobs in it, and costs none of them."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.depth import Depth
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import JSON_JOB, made, until

QUEUE = "media.transcode"
DEAD = f"{QUEUE}.dead"


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    """A TaskQueue with three jobs waiting and three dead letters."""
    async with Operating(session).running() as operating:
        await operating.ready(made())
        with channel(operating) as one:
            for number in range(3):
                one.basic_publish(JOBS_EXCHANGE, QUEUE, b"%d" % number, JSON_JOB, mandatory=True)
                one.basic_publish(DEAD_EXCHANGE, QUEUE, b"%d" % number, JSON_JOB, mandatory=True)
        yield operating


@contextmanager
def channel(operating: Operating) -> Iterator[BlockingChannel]:
    connection = operating.administrator()
    try:
        one = connection.channel()
        one.confirm_delivery()
        yield one
    finally:
        if connection.is_open:
            connection.close()


async def depth(operating: Operating, queue: str, wanted: int) -> None:
    async def look() -> bool:
        found = (await operating.session.link.depths.read([queue])).get(queue)
        return isinstance(found, Depth) and found.ready == wanted

    await until(look, within=20)


def fill(one: BlockingChannel) -> None:
    for _ in range(20):
        one.basic_publish(JOBS_EXCHANGE, QUEUE, b"more", JSON_JOB, mandatory=True)


async def change(operating: Operating, **spec: Any) -> None:
    await operating.ready(made(generation=2, **spec))


async def test_max_length_refuses_further_jobs(operating: Operating) -> None:
    await change(operating, queue={"maxLength": 3})

    with channel(operating) as one, pytest.raises(pika.exceptions.NackError):
        fill(one)
    await operating.ready(made(generation=3))
    with channel(operating) as one:
        one.basic_publish(JOBS_EXCHANGE, QUEUE, b"more", JSON_JOB, mandatory=True)
        _, _, first = one.basic_get(QUEUE, auto_ack=True)
        assert first == b"0", "none of the old jobs has gone"


async def test_overflow_lets_the_oldest_give_way(operating: Operating) -> None:
    await change(operating, queue={"maxLength": 2, "overflow": "DropHead"})

    await depth(operating, QUEUE, 2)
    await depth(operating, DEAD, 4)
    with channel(operating) as one:
        one.basic_publish(JOBS_EXCHANGE, QUEUE, b"newest", JSON_JOB, mandatory=True)
        await depth(operating, DEAD, 5)
        _, _, oldest = one.basic_get(QUEUE, auto_ack=True)
        assert oldest == b"2"


async def test_max_age_holds_for_jobs_that_come_after_the_change(operating: Operating) -> None:
    """A quorum queue notes a job's end when it comes, and looks at its head only."""
    await change(operating, queue={"maxAge": "100ms"})

    with channel(operating) as one:
        one.basic_publish(JOBS_EXCHANGE, QUEUE, b"late", JSON_JOB, mandatory=True)
        for number in range(3):
            _, _, body = one.basic_get(QUEUE, auto_ack=True)
            assert body == b"%d" % number, "what was there before keeps its age"
    await depth(operating, QUEUE, 0)
    await depth(operating, DEAD, 4)


async def test_retention_holds_for_dead_letters_that_come_after_the_change(
    operating: Operating,
) -> None:
    await change(operating, deadLetter={"retention": "100ms"})

    with channel(operating) as one:
        one.basic_publish(DEAD_EXCHANGE, QUEUE, b"late", JSON_JOB, mandatory=True)
        for number in range(3):
            _, _, body = one.basic_get(DEAD, auto_ack=True)
            assert body == b"%d" % number
    await depth(operating, DEAD, 0)
    await depth(operating, QUEUE, 3)


async def test_length_of_dead_letters(operating: Operating) -> None:
    await change(operating, deadLetter={"maxLength": 1})

    await depth(operating, DEAD, 1)
    with channel(operating) as one:
        _, _, left = one.basic_get(DEAD, auto_ack=True)
        assert left == b"2", "the oldest give way"


async def test_delivery_limit(operating: Operating) -> None:
    await change(operating, queue={"deliveryLimit": 1}, retry={"maxAttempts": 1})

    with channel(operating) as one:
        for _ in range(2):
            method, _, body = one.basic_get(QUEUE)
            assert body == b"0"
            one.basic_reject(method.delivery_tag, requeue=True)
        await depth(operating, DEAD, 4)
    await depth(operating, QUEUE, 2)


async def test_ack_timeout_where_a_policy_sets_it(operating: Operating) -> None:
    """From 4.3 on workers bring it along, and no policy has it."""
    await change(operating, timeLimit={"hard": "1h"})

    policies = (await operating.session.management.inventory()).policies
    own = policies.get(f"longshore.own.{QUEUE}")
    if operating.session.features.ack_timeout_by_consumer:
        assert own is None
        return
    assert own
    assert own.definition["consumer-timeout"] == (3600 + 5 + 120 + 60) * 1000
    states = (await operating.session.management.inventory()).states
    assert states[QUEUE].policy == own.name
    await depth(operating, QUEUE, 3)


async def test_a_change_is_in_force_within_two_seconds(operating: Operating) -> None:
    started = time.monotonic()

    await change(operating, deadLetter={"maxLength": 1})
    took = time.monotonic() - started

    await depth(operating, DEAD, 1)
    assert took < 2, "the issue's own figure"
