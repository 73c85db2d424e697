"""What workers report and what they are told, over RabbitMQ."""

import logging
from collections.abc import Callable
from typing import Any

import pika
from pydantic import ValidationError

from longshore.contract.names import ORDERS_EXCHANGE, REPORTS_EXCHANGE, orders_key
from longshore.contract.orders import Order
from longshore.contract.reports import STALE_AFTER, WorkerReport
from longshore_operator.adapters.amqp import Channel, Connection

logger = logging.getLogger(__name__)

FORGET_AFTER = 10 * STALE_AFTER
"""Seconds after which a silent worker is forgotten."""

MOST_WORKERS = 10_000
"""Of one queue: who has a worker's credentials may invent names."""

_LIFE = "10000"
"""Milliseconds after which an order that was not taken is void."""


class Fleet:
    """The last report of every worker, with its age."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._channels: tuple[Channel, ...] = ()
        self._reports: dict[str, dict[str, tuple[float, WorkerReport]]] = {}

    @property
    def is_cut_off(self) -> bool:
        """Whether reports or orders get lost: their exchange or queue was deleted, say."""
        return any(not channel.is_open for channel in self._channels)

    async def listen(self, connection: Connection, *, orders: Connection) -> None:
        """Take reports from now on, and give orders over a connection of their own.

        A broker that is short of memory stops reading from connections that publish; depths are
        asked for over the other one.
        """
        channel, self._orders = await connection.channel(), await orders.channel()
        # Exclusive, so classic and gone with the connection: reports are worth nothing later.
        declared = await channel.call(channel.raw.queue_declare, queue="", exclusive=True)
        queue = declared.method.queue
        await channel.call(
            channel.raw.queue_bind, queue=queue, exchange=REPORTS_EXCHANGE, routing_key="#"
        )
        channel.raw.add_on_cancel_callback(lambda _: channel.close())
        channel.raw.basic_consume(queue=queue, on_message_callback=self._take, auto_ack=True)
        self._channels = (channel, self._orders)

    def reports(self, queue: str) -> dict[str, WorkerReport]:
        """Reports of the workers of `queue`, by worker, that are not too old to be true."""
        oldest = self._clock() - STALE_AFTER
        return {
            worker: report
            for worker, (at, report) in self._reports.get(queue, {}).items()
            if at >= oldest
        }

    def order(self, order: Order, *, queue: str, worker: str) -> None:
        """Tell one worker. Nobody hears whether it arrives but by that worker's reports."""
        if not self._channels or self.is_cut_off:
            return
        self._orders.raw.basic_publish(
            ORDERS_EXCHANGE,
            orders_key(queue=queue, worker=worker),
            order.model_dump_json().encode(),
            pika.BasicProperties(content_type="application/json", expiration=_LIFE),
        )

    def forget_silent(self) -> None:
        """Drop workers that have not been heard of for long."""
        oldest = self._clock() - FORGET_AFTER
        for queue, workers in list(self._reports.items()):
            for worker in [name for name, (at, _) in workers.items() if at < oldest]:
                del workers[worker]
            if not workers:
                del self._reports[queue]

    def _take(self, _channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        try:
            report = WorkerReport.model_validate_json(body)
        except ValidationError as error:
            logger.warning(
                "report_unreadable", extra={"key": method.routing_key, "why": str(error)}
            )
            return
        # The key is what RabbitMQ checked against the sender's rights; the body may say anything.
        workers = self._reports.setdefault(method.routing_key, {})
        if report.worker in workers or len(workers) < MOST_WORKERS:
            workers[report.worker] = (self._clock(), report)
