"""The publishing side: outcomes, with confirms, on a connection of its own.

A broker that blocks publishers blocks the whole connection, acks included: hence not the one that
consumes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pika
import pika.exceptions
from pika.channel import Channel

from longshore.worker.parent.connection import (
    Backoff,
    Connection,
    Lost,
    connect,
    resolve,
    words,
)
from longshore.worker.parent.logs import Log
from longshore.worker.parent.outcome import Publication

CONFIRM_TIMEOUT = 60.0
"""Seconds without a confirm after which the channel is given up and the message published anew."""

log = Log("longshore.publisher")


class Publisher:
    """Publishes until confirmed, across nacks, returns, blocked and lost connections."""

    def __init__(self, parameters: pika.connection.Parameters) -> None:
        self.on_loss: Callable[[], None] = lambda: None
        self.beside: Callable[[Connection], Awaitable[None]] = _nothing
        """What else lives on the connection, for as long as it does."""

        self._parameters = parameters
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._open = asyncio.Event()
        self._number = 0
        self._unconfirmed: dict[int, _Unconfirmed] = {}

    @property
    def is_blocked(self) -> bool:
        """Whether the broker takes no messages for now: an alarm about its memory or disk."""
        return self._connection is not None and self._connection.is_blocked

    async def run(self) -> None:
        """Keep connection and channel open until cancelled."""
        backoff = Backoff()
        while True:
            self._connection = connection = await connect(self._parameters, purpose="publish")
            beside = asyncio.ensure_future(self.beside(connection))
            try:
                while connection.is_open:
                    try:
                        cause = await self._serve(connection)
                        backoff.reset()
                    except Lost as error:
                        cause = str(error)
                    log.warning("publisher-lost", cause=cause)
                    self.on_loss()
                    await backoff.pause()
            finally:
                beside.cancel()

    async def publish(self, publication: Publication, *, wanted: Callable[[], bool]) -> bool:
        """Return True when the broker has confirmed; False once it is not `wanted` any more.

        Raises TypeError, ValueError or struct.error for properties that AMQP cannot carry.
        """
        backoff = Backoff()
        while wanted():
            channel = await self._usable_channel()
            if not wanted():
                return False
            try:
                problem = await self._publish_once(channel, publication)
            except Lost as error:
                problem = str(error)
            if problem is None:
                return True
            log.error(
                "publish-failed",
                exchange=publication.exchange,
                key=publication.key,
                error=problem,
            )
            await backoff.pause()
        return False

    async def close(self) -> None:
        """End the connection."""
        if self._connection:
            await self._connection.close()

    async def _usable_channel(self) -> Channel:
        while True:
            await self._open.wait()
            connection, channel = self._connection, self._channel
            if connection and connection.is_blocked:
                await connection.unblocked()
            elif channel and channel.is_open:
                return channel
            else:
                await asyncio.sleep(0.05)

    async def _publish_once(self, channel: Channel, publication: Publication) -> str | None:
        """What went wrong; None when it was confirmed. Raises Lost."""
        settled: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        properties = pika.BasicProperties(**publication.properties)
        _check_fits(properties, frame_max=channel.connection.params.frame_max)
        try:
            channel.basic_publish(
                publication.exchange,
                publication.key,
                publication.body,
                properties,
                mandatory=True,
            )
        except pika.exceptions.AMQPError as error:
            raise Lost(words(error)) from None
        self._number += 1
        self._unconfirmed[self._number] = _Unconfirmed(publication, properties, settled)
        done, _ = await asyncio.wait({settled}, timeout=CONFIRM_TIMEOUT)
        if done:
            return settled.result()
        if channel.is_open:
            channel.close()
        raise Lost(f"no confirm within {CONFIRM_TIMEOUT:g} s")

    async def _serve(self, connection: Connection) -> str:
        """Have the channel open until it is lost; the cause."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()
        channel = await connection.channel()

        def lose(cause: str) -> None:
            if lost.done():
                return  # what is unconfirmed now was sent on a later channel
            lost.set_result(cause)
            self._open.clear()
            unconfirmed, self._unconfirmed = self._unconfirmed, {}
            for waiting in unconfirmed.values():
                resolve(waiting.settled, f"unconfirmed: {cause}")

        selected: asyncio.Future[None] = loop.create_future()
        lost.add_done_callback(lambda _: resolve(selected, None))
        channel.add_on_close_callback(lambda _, error: lose(words(error)))
        channel.add_on_return_callback(self._on_return)
        try:
            channel.confirm_delivery(self._on_confirm, callback=lambda _: resolve(selected, None))
            await connection.answer(selected)
        except (pika.exceptions.AMQPError, Lost) as error:
            cause = str(error) if isinstance(error, Lost) else words(error)
            lose(cause)
            if channel.is_open:
                channel.close()
            raise Lost(cause) from None
        if lost.done():
            return lost.result()
        self._number = 0
        self._channel = channel
        self._open.set()
        try:
            return await lost
        finally:
            self._channel = None

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        problem = None if method.NAME == "Basic.Ack" else "nacked by the broker"
        if method.multiple:
            numbers = [number for number in self._unconfirmed if number <= method.delivery_tag]
        else:
            numbers = [method.delivery_tag]
        for number in numbers:
            if waiting := self._unconfirmed.pop(number, None):
                resolve(waiting.settled, waiting.returned or problem)

    def _on_return(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        # The broker returns a message before it confirms it, and doesn't say which one: the oldest
        # that looks the same; where two do, both are unroutable.
        for waiting in self._unconfirmed.values():
            sent = waiting.publication
            if (
                waiting.returned is None
                and (sent.exchange, sent.key) == (method.exchange, method.routing_key)
                and waiting.properties.message_id == properties.message_id
                and sent.body == body
            ):
                waiting.returned = f"unroutable: {method.reply_code} {method.reply_text}"
                return


async def _nothing(_connection: Connection) -> None:
    pass


def _check_fits(properties: pika.BasicProperties, *, frame_max: int) -> None:
    # The broker would end the connection over it, and everybody's outcomes with it.
    size = _CONTENT_HEADER + sum(map(len, properties.encode()))
    if size > frame_max - _FRAME_EDGES:
        raise ValueError(
            f"properties and headers take {size} bytes; the frame that holds them all takes "
            f"{frame_max - _FRAME_EDGES}"
        )


_FRAME_EDGES = 8
_CONTENT_HEADER = 12


class _Unconfirmed:
    """A message on its way: resolved with None when confirmed, else with what went wrong."""

    def __init__(
        self,
        publication: Publication,
        properties: pika.BasicProperties,
        settled: "asyncio.Future[str | None]",
    ) -> None:
        self.publication = publication
        self.properties = properties
        self.settled = settled
        self.returned: str | None = None
