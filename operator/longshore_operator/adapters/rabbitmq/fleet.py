"""Receives workers' reports and sends orders to workers, over RabbitMQ."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from longshore.amqp.channel import Channel
from longshore.amqp.connection import Connection
from longshore.amqp.errors import Lost
from longshore.amqp.publication import Properties
from longshore.contract.foreign import read
from longshore.contract.names import REPORTS_EXCHANGE
from longshore.contract.orders import Order
from longshore.contract.reports import STALE_AFTER, WorkerReport
from longshore.logs import Log
from longshore_operator.adapters.rabbitmq.dial import answered
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from longshore_operator.core.access.replies import is_reply_address

log = Log(__name__)

FORGET_AFTER = 10 * STALE_AFTER
"""Seconds after which a silent worker is forgotten."""

MOST_BYTES = 8192
"""Maximum size of a report, which takes less than 1 KiB; a worker's user may send any size."""

COMPLAIN_EVERY = 60.0
"""Seconds between two log lines about unreadable reports for one queue."""

_PROPERTIES = Properties(content_type="application/json")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """The last report of a worker, when it arrived, and where its sender takes orders."""

    at: float
    report: WorkerReport
    address: str


class Fleet:
    """The last report of every worker, with its age."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._channels: tuple[Channel, ...] = ()
        self._heard: dict[str, dict[str, _Heard]] = {}
        self._unreadable: dict[str, tuple[float, int]] = {}
        """By queue: when unreadable reports were last logged, and how many came since."""

    @property
    def is_cut_off(self) -> bool:
        """Whether reports or orders are lost, for example because the report queue was deleted."""
        return any(not channel.is_open for channel in self._channels)

    async def listen(self, connection: Connection, *, orders: Connection) -> None:
        """Receive reports from now on, and send orders over a connection of their own.

        A RabbitMQ that is short of memory stops reading from connections that publish; depths are
        read over the other one.
        """
        async with answered("take reports"):
            channel, self._orders = await connection.channel(), await orders.channel()
            # Exclusive, so classic and deleted with the connection: old reports are worthless.
            queue = await channel.declare_exclusive()
            await channel.bind(queue, exchange=REPORTS_EXCHANGE, key="#")
            await channel.start_consumer(queue, self._take, on_cancel=channel.close, auto_ack=True)
        self._channels = (channel, self._orders)

    def reports(self, queue: str) -> dict[str, WorkerReport]:
        """Return the reports of the workers of `queue`, by worker, that are recent enough."""
        oldest = self._clock() - STALE_AFTER
        return {
            worker: heard.report
            for worker, heard in self._heard.get(queue, {}).items()
            if heard.at >= oldest
        }

    def order(self, order: Order, *, queue: str, worker: str) -> None:
        """Send an order to one worker, at the address of its last report.

        Only that worker's reports show whether the order arrives.
        """
        heard = self._heard.get(queue, {}).get(worker)
        if heard is None or not self._channels or self.is_cut_off:
            return
        # Not mandatory, because that shows nothing here: 4.0.5 returns each such message, delivered
        # or not, and 4.3.6 returns none.
        body = msgspec.json.encode(order)
        with contextlib.suppress(Lost):  # `is_cut_off` shows this
            self._orders.publish("", heard.address, body, _PROPERTIES)

    def forget_silent(self) -> None:
        """Drop workers that have been silent for long."""
        oldest = self._clock() - FORGET_AFTER
        for queue, workers in list(self._heard.items()):
            for worker in [name for name, heard in workers.items() if heard.at < oldest]:
                del workers[worker]
            if not workers:
                del self._heard[queue]
        recently = self._clock() - 2 * COMPLAIN_EVERY
        self._unreadable = {
            queue: known for queue, known in self._unreadable.items() if known[0] >= recently
        }

    def _take(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        # RabbitMQ checked the key against the sender's rights; the body may contain anything.
        queue, now = method.routing_key, self._clock()
        try:
            heard = _heard(body, queue=queue, address=properties.reply_to, at=now)
        except ValueError as error:
            self._complain(queue, error)
            return
        workers = self._heard.setdefault(queue, {})
        if workers.pop(heard.report.worker, None) is None and len(workers) >= MOST_WORKERS:
            # A sender with a worker's credentials may invent names. Workers that a rollout replaced
            # make room; the first in the dict is the one that has been silent longest.
            longest = next(iter(workers))
            if workers[longest].at >= now - STALE_AFTER:
                return
            del workers[longest]
        workers[heard.report.worker] = heard

    def _complain(self, queue: str, error: ValueError) -> None:
        """Log that a report was dropped; of many for one queue, log only some."""
        now = self._clock()
        since, dropped = self._unreadable.get(queue, (None, 0))
        if since is not None and now - since < COMPLAIN_EVERY:
            self._unreadable[queue] = (since, dropped + 1)
            return
        self._unreadable[queue] = (now, 0)
        log.warning("report-unreadable", task_queue=queue, error=str(error), not_logged=dropped)


def _heard(body: bytes, *, queue: str, address: object, at: float) -> _Heard:
    """Decode a report. Raises ValueError if that fails, or it has no address for orders."""
    if len(body) > MOST_BYTES:
        raise ValueError(f"{len(body)} bytes are too many for a report: the limit is {MOST_BYTES}")
    report = read(body, WorkerReport)
    if not is_reply_address(address):
        raise ValueError(f"reply_to {address!r} is not an address of RabbitMQ's direct reply-to")
    return _Heard(at=at, report=replace(report, queue=queue), address=str(address))
