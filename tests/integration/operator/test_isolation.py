"""With one tenant's credentials, every attempt on another tenant's queue is refused."""

from collections.abc import Callable

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from longshore.contract.delays import route
from longshore.contract.names import (
    DEAD_EXCHANGE,
    JOBS_EXCHANGE,
    ORDERS_EXCHANGE,
    REPORTS_EXCHANGE,
    orders_key,
    orders_queue_prefix,
)
from longshore.contract.orders import Order, OrderKind
from longshore_operator.app.broker import Session
from tests.integration.operator.task_queues import JSON_JOB, Tenants, made, until

OURS = made("transcode", namespace="media")
THEIRS = made("invoice", namespace="billing")
QUEUE = THEIRS.owner.queue


def publish(exchange: str, key: str, **headers: list[str]) -> Callable[[BlockingChannel], None]:
    def attempt(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        properties = pika.BasicProperties(type="x", headers=headers or None)
        channel.basic_publish(exchange, key, b"{}", properties)

    return attempt


ATTEMPTS: dict[str, Callable[[BlockingChannel], object]] = {
    "publish": publish(JOBS_EXCHANGE, QUEUE),
    "publish with CC": publish(JOBS_EXCHANGE, "media.transcode", CC=[QUEUE]),
    "publish with BCC": publish(JOBS_EXCHANGE, "media.transcode", BCC=[QUEUE]),
    "publish past the ladder": publish("longshore.due", QUEUE),
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
    "declare": lambda channel: channel.queue_declare("mine", exclusive=True),
    "order": publish(ORDERS_EXCHANGE, f"{QUEUE}.pod"),
    "order one's own": publish(ORDERS_EXCHANGE, "media.transcode.pod"),
    "take orders under another's name": lambda channel: channel.queue_declare(
        f"{orders_queue_prefix(QUEUE)}ab", exclusive=True
    ),
}

OVERHEAR = (f"{QUEUE}.pod", f"{QUEUE}.*", "#", "*.*.*", "media.transcode.*", "media.transcode.#")
"""Keys of orders that are not one worker's own."""


def answer(tenants: Tenants, role: str, attempt: Callable[[BlockingChannel], object]) -> int:
    """The code with which RabbitMQ closes the channel; 0 when it does as asked."""
    with tenants.channel(OURS, role) as channel:
        try:
            attempt(channel)
        except ChannelClosedByBroker as error:
            return int(error.reply_code)
        return 0


@pytest.mark.parametrize("role", ["worker", "producer"])
async def test_a_tenant_cannot_touch_anothers_queue(session: Session, role: str) -> None:
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    await tenants.reconcile(THEIRS)

    answers = {name: answer(tenants, role, attempt) for name, attempt in ATTEMPTS.items()}

    assert answers == dict.fromkeys(ATTEMPTS, 403)


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


@pytest.mark.parametrize("key", OVERHEAR)
async def test_a_worker_hears_nobody_elses_orders(session: Session, key: str) -> None:
    tenants = Tenants(session)
    await tenants.reconcile(OURS)

    def overhear(channel: BlockingChannel) -> None:
        name = f"{orders_queue_prefix(OURS.owner.queue)}ab"
        channel.queue_declare(name, exclusive=True)
        channel.queue_bind(name, ORDERS_EXCHANGE, key)

    assert answer(tenants, "worker", overhear) == 403


async def test_a_worker_takes_its_own_orders(session: Session) -> None:
    await session.link.listen()
    tenants = Tenants(session)
    await tenants.reconcile(OURS)
    queue = OURS.owner.queue

    with tenants.channel(OURS, "worker") as channel:
        name = f"{orders_queue_prefix(queue)}ab"
        channel.queue_declare(name, exclusive=True)
        channel.queue_bind(name, ORDERS_EXCHANGE, orders_key(queue=queue, worker="pod"))
        order = Order(kind=OrderKind.CORDON, id="one")
        session.link.fleet.order(order, queue=queue, worker="pod")
        session.link.fleet.order(order, queue=queue, worker="another")

        async def taken() -> bytes | None:
            body: bytes | None = channel.basic_get(name, auto_ack=True)[2]
            return body

        assert Order.model_validate_json(await until(taken)) == order
        assert await taken() is None
