"""Hears the operator's orders, on the connection that publishes."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import pika.exceptions
from pika.channel import Channel
from pydantic import ValidationError

from longshore.contract.names import ORDERS_EXCHANGE, orders_key, orders_queue_prefix
from longshore.contract.orders import Order
from longshore.worker.parent.connection import Backoff, Connection, Lost, resolve, words
from longshore.worker.parent.logs import Log

log = Log("longshore.orders")


class Orders:
    """Orders to `worker` of `queue`; each is told to `on_order`."""

    def __init__(self, *, queue: str, worker: str, on_order: Callable[[Order], None]) -> None:
        self._queue = queue
        self._key = orders_key(queue=queue, worker=worker)
        self._on_order = on_order

    async def listen(self, connection: Connection) -> None:
        """Take orders until the connection ends."""
        backoff = Backoff(first=1.0)
        while connection.is_open:
            try:
                cause = await self._listen(connection)
            except Lost as error:
                cause = str(error)
            # A worker without orders goes on working; the operator then cannot take it away.
            log.warning("orders-lost", cause=cause)
            await backoff.pause()

    async def _listen(self, connection: Connection) -> str:
        """Take orders until the channel closes; the cause. Raises Lost."""
        loop = asyncio.get_running_loop()
        channel = await connection.channel()
        lost: asyncio.Future[str] = loop.create_future()
        channel.add_on_close_callback(lambda _, error: resolve(lost, words(error)))
        channel.add_on_cancel_callback(lambda _: resolve(lost, "the queue of orders is gone"))
        # Exclusive, so gone with the connection. A name of its own each time: that of a connection
        # that the broker has not yet found dead would be refused.
        name = orders_queue_prefix(self._queue) + secrets.token_hex(8)
        try:
            await _answered(connection, lost, channel.queue_declare, queue=name, exclusive=True)
            await _answered(
                connection,
                lost,
                channel.queue_bind,
                queue=name,
                exchange=ORDERS_EXCHANGE,
                routing_key=self._key,
            )
            channel.basic_consume(name, self._take, auto_ack=True, exclusive=True)
            log.info("taking-orders", key=self._key)
            return await lost
        except pika.exceptions.AMQPError as error:
            raise Lost(words(error)) from None
        finally:
            if channel.is_open:
                channel.close()

    def _take(self, _channel: Channel, _method: Any, _properties: Any, body: bytes) -> None:
        try:
            order = Order.model_validate_json(body)
        except ValidationError as error:
            log.warning("order-unreadable", error=str(error))
            return
        self._on_order(order)


async def _answered(
    connection: Connection, lost: asyncio.Future[str], method: Callable[..., Any], **arguments: Any
) -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    lost.add_done_callback(lambda _: resolve(answer, None))
    method(callback=lambda _: resolve(answer, None), **arguments)
    await connection.answer(answer)
    if lost.done():
        raise Lost(lost.result())
