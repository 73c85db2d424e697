"""The line to the operator, on the connection that publishes: reports out, orders in.

Orders arrive by RabbitMQ's direct reply-to. It writes into each report the address of the report's
own channel. So there is no queue, and a worker needs no right to declare one.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from longshore.amqp.channel import Channel, resolve
from longshore.amqp.connection import Backoff, Connection
from longshore.amqp.errors import Lost, words
from longshore.amqp.publication import Properties
from longshore.contract.foreign import Unreadable, read
from longshore.contract.names import REPLY_TO
from longshore.contract.orders import Order
from longshore.logs import Log

log = Log("longshore.line")


class Line:
    """Sends reports, and calls `on_order` with each order."""

    def __init__(self, *, on_order: Callable[[Order], None]) -> None:
        self._on_order = on_order
        self._connection: Connection | None = None
        self._channel: Channel | None = None

    async def keep(self, connection: Connection) -> None:
        """Keep the line open until the connection ends."""
        backoff = Backoff(first=1.0)
        while connection.is_open:
            try:
                cause = await self._hold(connection)
            except Lost as error:
                cause = str(error)
            except Exception as error:
                cause = words(error)
            # A worker without it goes on working, but the operator then cannot remove it.
            log.warning("operator-line-lost", error=cause)
            await backoff.pause()

    def report(self, exchange: str, key: str, body: bytes) -> None:
        """Publish a report, without a confirm; send nothing if that would have to wait."""
        connection, channel = self._connection, self._channel
        if not connection or connection.is_blocked or not channel or not channel.is_open:
            return
        properties = Properties(content_type="application/json", reply_to=REPLY_TO)
        with contextlib.suppress(Lost):
            channel.publish(exchange, key, body, properties)

    async def _hold(self, connection: Connection) -> str:
        """Send reports and take orders until the channel closes; return the cause. Raises Lost."""
        # A channel of its own, because a missing exchange closes it, and must not take unconfirmed
        # outcomes with it.
        channel = await connection.channel()
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()
        listening: asyncio.Future[None] = loop.create_future()
        channel.on_end(lambda end: resolve(lost, end.cause))
        try:
            channel.consume(
                REPLY_TO,
                self._take,
                auto_ack=True,
                on_started=lambda: resolve(listening, None),
                on_cancel=lambda: resolve(lost, "the broker has cancelled the consumer of orders"),
            )
            await connection.answer(listening, of=channel)
            # Only now, because RabbitMQ closes a channel that sends a report with a reply address
            # before it consumes.
            self._connection, self._channel = connection, channel
            log.info("operator-line-opened")
            return await lost
        finally:
            channel.close()

    def _take(self, _channel: Channel, _method: Any, _properties: Any, body: bytes) -> None:
        try:
            order: Order = read(body, Order)
        except Unreadable as error:
            log.warning("order-unreadable", error=str(error))
            return
        try:
            self._on_order(order)
        except Exception as error:
            # One line without a traceback, because there may be many bad orders.
            log.error("order-failed", order=repr(order)[:500], error=repr(error))  # noqa: TRY400
