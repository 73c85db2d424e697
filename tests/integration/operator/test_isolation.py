"""With one tenant's credentials, every attempt on another tenant's queue is refused."""

from collections.abc import Callable
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from longshore.contract.delays import route
from longshore.contract.names import (
    DEAD_EXCHANGE,
    DUE_EXCHANGE,
    JOBS_EXCHANGE,
    LOST,
    REPORTS_EXCHANGE,
    dead_queue_name,
)
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.depth import Depth
from tests.integration.operator.task_queues import JSON_JOB, Tenants, made, until

OURS = made("transcode", namespace="media")
THEIRS = made("invoice", namespace="billing")
QUEUE = THEIRS.owner.queue


Attempt = Callable[[BlockingChannel], object]
Attempts = dict[str, Attempt]


def publish(exchange: str, key: str, **headers: list[str]) -> Attempt:
    def attempt(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        properties = pika.BasicProperties(type="x", headers=headers or None)
        channel.basic_publish(exchange, key, b"{}", properties)

    return attempt


ATTEMPTS: Attempts = {
    "publish": publish(JOBS_EXCHANGE, QUEUE),
    "publish past the ladder": publish(DUE_EXCHANGE, QUEUE),
    "publish lower in the ladder": publish("longshore.delay.00", f"1.{QUEUE}"),
    "delay": publish(*route(QUEUE, delay=1)),
    "default exchange": publish("", QUEUE),
    "dead letter": publish(DEAD_EXCHANGE, QUEUE),
    "report": publish(REPORTS_EXCHANGE, QUEUE),
    "get": lambda channel: channel.basic_get(QUEUE),
    "consume": lambda channel: channel.basic_consume(QUEUE, lambda *_: None),
    "purge": lambda channel: channel.queue_purge(QUEUE),
    "delete": lambda channel: channel.queue_delete(QUEUE),
    "bind": lambda channel: channel.queue_bind(QUEUE, JOBS_EXCHANGE, "#"),
    "bind one's own": lambda channel: channel.queue_bind("media.transcode", JOBS_EXCHANGE, "#"),
    "bind an exchange": lambda channel: channel.exchange_bind(DEAD_EXCHANGE, JOBS_EXCHANGE, "#"),
    "declare an exchange": lambda channel: channel.exchange_declare(
        "mine", arguments={"alternate-exchange": JOBS_EXCHANGE}
    ),
}


def declare(
    name: str, *, dead_letters_to: str | None = None, key: str = QUEUE, **how: Any
) -> Attempt:
    """Of a queue whose messages RabbitMQ would bring anywhere: it checks no key then."""
    arguments = {"x-dead-letter-exchange": dead_letters_to, "x-dead-letter-routing-key": key}
    return lambda channel: channel.queue_declare(
        name, arguments=None if dead_letters_to is None else arguments, **how
    )


WAYS: dict[str, dict[str, Any]] = {
    "durable": {"durable": True},
    "exclusive": {"exclusive": True},
    "auto-delete": {"auto_delete": True},
    "exclusive and auto-delete": {"exclusive": True, "auto_delete": True},
}
NAMES = (
    "",
    "mine",
    "media.mine",
    "media.transcode",
    f"{QUEUE}.mine",
    "longshore.orders.media.x.0a",
)
DECLARATIONS: Attempts = {
    f"{name or 'named by the server'}, {how}, dead letters to {exchange}": declare(
        name, dead_letters_to=exchange, **flags
    )
    for name in NAMES
    for how, flags in WAYS.items()
    for exchange in (None, "", JOBS_EXCHANGE, DUE_EXCHANGE, DEAD_EXCHANGE, LOST)
}

OURS_AND_THEIRS = {
    JOBS_EXCHANGE: ("media.transcode", QUEUE),
    route(QUEUE, delay=1)[0]: (route("media.transcode", delay=1)[1], route(QUEUE, delay=1)[1]),
    DEAD_EXCHANGE: ("media.transcode", QUEUE),
    REPORTS_EXCHANGE: ("media.transcode", QUEUE),
}
"""Exchanges that a worker may publish to: a key of its own, and the same of another's."""

COPIES: Attempts = {
    f"{header} on {exchange}": publish(exchange, own, **{header: [theirs]})
    for exchange, (own, theirs) in OURS_AND_THEIRS.items()
    for header in ("CC", "BCC")
}
"""More keys in headers."""


async def taken(channel: BlockingChannel, queue: str) -> Any:
    """A job with its method and properties; None if there is none yet."""
    found = channel.basic_get(queue)
    return found if found[0] else None


def answers(tenants: Tenants, role: str, attempts: Attempts) -> dict[str, int]:
    """The code with which RabbitMQ closes the channel over each; 0 where it does as asked."""
    with tenants.channel(OURS, role) as channel:
        return {name: _answer(channel.connection, each) for name, each in attempts.items()}


def _answer(connection: BlockingConnection, attempt: Attempt) -> int:
    channel = connection.channel()
    try:
        attempt(channel)
    except ChannelClosedByBroker as error:
        return int(error.reply_code)
    channel.close()
    return 0


@pytest.mark.parametrize("role", ["worker", "producer"])
async def test_a_tenant_cannot_touch_anothers_queue(session: Session, role: str) -> None:
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    await tenants.reconcile(THEIRS)

    attempts = ATTEMPTS | COPIES

    assert answers(tenants, role, attempts) == dict.fromkeys(attempts, 403)


@pytest.mark.parametrize("role", ["worker", "producer"])
async def test_a_tenant_can_declare_no_queue_at_all(session: Session, role: str) -> None:
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    before = {queue["name"] for queue in await tenants.get("queues", session.address.vhost)}

    assert answers(tenants, role, DECLARATIONS) == dict.fromkeys(DECLARATIONS, 403)
    after = {queue["name"] for queue in await tenants.get("queues", session.address.vhost)}
    assert after == before


async def test_another_tenants_queue_shows_at_most_its_depth(session: Session) -> None:
    """RabbitMQ 4.0 lets anybody ask; 4.3 wants some right to the queue."""
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    await tenants.reconcile(THEIRS)

    found = answers(tenants, "worker", {"ask": lambda it: it.queue_declare(QUEUE, passive=True)})

    assert found == {"ask": 0 if session.link.version.startswith("4.0.") else 403}


async def test_headers_that_are_the_brokers_own_lead_nowhere(session: Session) -> None:
    """Neither at once nor when RabbitMQ itself carries the message on."""
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    await tenants.reconcile(THEIRS)
    queue, depths = OURS.owner.queue, session.link.depths
    headers = {
        "x-cc": [QUEUE],
        "x-routing-key": QUEUE,
        "x-routing-keys": [QUEUE],
        "x-exchange": JOBS_EXCHANGE,
        "x-dead-letter-exchange": JOBS_EXCHANGE,
        "x-dead-letter-routing-key": QUEUE,
        "x-first-death-exchange": JOBS_EXCHANGE,
        "x-first-death-queue": QUEUE,
        "x-death": [{"queue": QUEUE, "exchange": JOBS_EXCHANGE, "routing-keys": [QUEUE]}],
        "cc": [QUEUE],
        "bcc": [QUEUE],
    }
    properties = pika.BasicProperties(type="x", headers=headers, delivery_mode=2)

    with tenants.channel(OURS, "worker") as channel:
        channel.confirm_delivery()
        channel.basic_publish(JOBS_EXCHANGE, queue, b"{}", properties, mandatory=True)
        channel.basic_publish(*route(queue, delay=1), b"{}", properties, mandatory=True)
        for _ in range(2):
            method, _, _ = await until(lambda: taken(channel, queue))
            channel.basic_reject(method.delivery_tag, requeue=False)

    ours = dead_queue_name(queue)

    async def dead() -> bool:
        return await depths.read([ours]) == {ours: Depth(ready=2, consumers=0)}

    await until(dead, within=20)
    elsewhere = (QUEUE, dead_queue_name(QUEUE), LOST)
    empty = Depth(ready=0, consumers=0)
    assert await depths.read(elsewhere) == dict.fromkeys(elsewhere, empty)


async def test_a_worker_can_do_its_own_work(session: Session) -> None:
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    queue = OURS.owner.queue

    with tenants.channel(OURS, "worker") as channel:
        channel.confirm_delivery()
        for exchange, key in (
            (JOBS_EXCHANGE, queue),
            route(queue, delay=60),
            (DEAD_EXCHANGE, queue),
        ):
            channel.basic_publish(exchange, key, b"{}", JSON_JOB, mandatory=True)
        channel.basic_publish(REPORTS_EXCHANGE, queue, b"{}")
        method, _, _ = channel.basic_get(queue)
        channel.basic_ack(method.delivery_tag)
        assert channel.queue_declare(queue, passive=True).method.message_count == 0
