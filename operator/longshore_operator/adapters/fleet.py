"""What workers report and what they are told, over RabbitMQ."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pika

from longshore.contract.foreign import read
from longshore.contract.names import REPORTS_EXCHANGE
from longshore.contract.orders import Order
from longshore.contract.reports import STALE_AFTER, WorkerReport
from longshore_operator.adapters.amqp import Channel, Connection
from longshore_operator.core.replies import is_reply_address

logger = logging.getLogger(__name__)

FORGET_AFTER = 10 * STALE_AFTER
"""Seconds after which a silent worker is forgotten."""

MOST_WORKERS = 10_000
"""Of one queue: who has a worker's credentials may invent names."""

_PROPERTIES = pika.BasicProperties(content_type="application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """The last report of a worker, when it came, and where its sender takes orders."""

    at: float
    report: WorkerReport
    address: str


class Fleet:
    """The last report of every worker, with its age."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._channels: tuple[Channel, ...] = ()
        self._heard: dict[str, dict[str, _Heard]] = {}

    @property
    def is_cut_off(self) -> bool:
        """Whether reports or orders get lost: the queue of reports was deleted, say."""
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
            worker: heard.report
            for worker, heard in self._heard.get(queue, {}).items()
            if heard.at >= oldest
        }

    def order(self, order: Order, *, queue: str, worker: str) -> None:
        """Tell one worker, where its last report came from.

        Nobody hears whether it arrives but by that worker's reports.
        """
        heard = self._heard.get(queue, {}).get(worker)
        if heard is None or not self._channels or self.is_cut_off:
            return
        # Not mandatory, which tells nothing here: 4.0.5 returns each such message, delivered or
        # not, and 4.3.6 none.
        body = msgspec.json.encode(order)
        self._orders.raw.basic_publish("", heard.address, body, _PROPERTIES)

    def forget_silent(self) -> None:
        """Drop workers that have not been heard of for long."""
        oldest = self._clock() - FORGET_AFTER
        for queue, workers in list(self._heard.items()):
            for worker in [name for name, heard in workers.items() if heard.at < oldest]:
                del workers[worker]
            if not workers:
                del self._heard[queue]

    def _take(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        try:
            heard = _heard(body, address=properties.reply_to, at=self._clock())
        except ValueError as error:
            logger.warning(
                "report_unreadable", extra={"key": method.routing_key, "why": str(error)}
            )
            return
        # The key is what RabbitMQ checked against the sender's rights; the body may say anything.
        workers = self._heard.setdefault(method.routing_key, {})
        worker = heard.report.worker
        if worker in workers or len(workers) < MOST_WORKERS:
            workers[worker] = heard


def _heard(body: bytes, *, address: object, at: float) -> _Heard:
    """Raises ValueError where the report is none, or nobody could be answered."""
    report = read(body, WorkerReport)
    if not is_reply_address(address):
        raise ValueError(f"reply_to {address!r} is no address of RabbitMQ's direct reply-to")
    return _Heard(at=at, report=report, address=str(address))
