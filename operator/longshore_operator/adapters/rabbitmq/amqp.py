"""pika's asyncio connection as coroutines."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import pika
import pika.spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ConnectionClosedByClient,
)

from longshore.amqp.guard import Guard
from longshore.logs import Log
from longshore_operator.adapters import tls
from longshore_operator.errors import Transient

log = Log(__name__)

OPEN_TIMEOUT = 10.0
"""Seconds to connect, to open a channel, and for the answer to a call."""

NOT_FOUND = 404


class Closed(Transient):
    """RabbitMQ closed the channel or the connection instead of answering; `code` is AMQP's.

    It does so, with 541, for a queue that has lost its quorum, and while its metadata store has.
    """

    def __init__(self, message: str, *, code: int | None) -> None:
        super().__init__(message, reason="Unreachable")
        self.code = code


class OperatorConnection:
    """An open connection. It is given up at its first fault; `is_lost` tells."""

    def __init__(self, connection: AsyncioConnection, guard: Guard) -> None:
        self._connection = connection
        self._guard = guard
        self._gone = asyncio.Event()
        self._channels: WeakSet[OperatorChannel] = WeakSet()
        guard.on_fault = self._give_up
        connection.add_on_close_callback(lambda *_: self._gone.set())

    @property
    def is_lost(self) -> bool:
        """Whether it has ended."""
        return self._gone.is_set() or not self._connection.is_open

    async def channel(self) -> "OperatorChannel":
        """A new channel. Raises Transient."""
        opened = asyncio.get_running_loop().create_future()
        try:
            self._connection.channel(on_open_callback=lambda raw: _take(opened, raw))
        except AMQPError as error:
            raise Transient(f"cannot open a channel: {error!r}", reason="Unreachable") from error
        channel = OperatorChannel(await within(opened, seconds=OPEN_TIMEOUT, what="open a channel"))
        self._channels.add(channel)
        return channel

    def _give_up(self, error: Exception) -> None:
        """A callback has raised: pika's own state cannot be relied on any more."""
        log.error("connection-broken", error=repr(error), exc_info=error)
        self._guard.shut()
        self._gone.set()
        for channel in tuple(self._channels):
            channel.fail(ConnectionClosedByClient(541, f"it was given up: {error!r}"))

    async def close(self) -> None:
        """Say goodbye; a broker that does not answer is left."""
        if self._connection.is_open:
            self._connection.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await self._gone.wait()
        self._guard.shut()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passive:
    """Passive declares that are under way."""

    answers: list[pika.spec.Queue.DeclareOk]
    count: int
    """Answers there will be, if the channel does not close before."""


class OperatorChannel:
    """One channel, used for one call at a time."""

    def __init__(self, channel: Any) -> None:
        self.raw = channel
        self._waiting: asyncio.Future[Any] | None = None
        self._passive: _Passive | None = None
        channel.add_on_close_callback(lambda _, error: self.fail(error))

    @property
    def is_open(self) -> bool:
        """Whether it takes calls."""
        return bool(self.raw.is_open)

    async def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Call a method of `raw` and wait for its answer.

        Raises Closed when the broker closes instead, and Transient when it does not answer.
        """
        self._waiting = asyncio.get_running_loop().create_future()
        what = getattr(method, "__name__", "call")
        try:
            method(callback=resolving(self._waiting), **arguments)
            return await within(self._waiting, seconds=OPEN_TIMEOUT, what=what)
        except AMQPError as error:
            by_broker = isinstance(error, ChannelClosedByBroker | ConnectionClosedByBroker)
            code = error.reply_code if by_broker else None
            raise Closed(f"AMQP {what}: {in_words(error)}", code=code) from error

    async def declare_passively(
        self, queues: Sequence[str], answers: list[pika.spec.Queue.DeclareOk]
    ) -> ChannelClosedByBroker | None:
        """Declare `queues` without making them, all under way at once; `answers` grows in order.

        Returns why the channel closed at the first queue without an answer. Raises pika's
        ConnectionClosed. pika's own way, one call after the other, takes four times the CPU.
        """
        if self._passive is None:
            declared = [pika.spec.Queue.DeclareOk]
            self.raw.add_callback(self._answered, declared, one_shot=False)
        self._waiting = asyncio.get_running_loop().create_future()
        self._passive = _Passive(answers=answers, count=len(queues))
        for queue in queues:
            self.raw._send_method(pika.spec.Queue.Declare(queue=queue, passive=True))
        try:
            await self._waiting
        except ChannelClosedByBroker as error:
            return error
        return None

    def _answered(self, frame: Any) -> None:
        if self._passive is None or self._waiting is None:
            return
        self._passive.answers.append(frame.method)
        if len(self._passive.answers) == self._passive.count:
            resolving(self._waiting)(None)

    def close(self) -> None:
        """Close it, without waiting for the answer."""
        if self.is_open:
            self.raw.close()

    def fail(self, error: Exception) -> None:
        """No answer comes any more."""
        if self._waiting is not None:
            fail(self._waiting, error)


def _take(opened: "asyncio.Future[Any]", channel: Any) -> None:
    if opened.done():
        channel.close()  # whoever wanted it has given up
    else:
        opened.set_result(channel)


def resolving(future: "asyncio.Future[Any]") -> Callable[[Any], None]:
    """A callback that resolves `future`, unless it is done."""

    def resolving(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    return resolving


def fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    """Have `error` raised by who awaits `future`, unless it is done."""
    if not future.done():
        future.set_exception(error)


async def within(future: "asyncio.Future[Any]", *, seconds: float, what: str) -> Any:
    """The result of `future`. Raises Transient when it does not come in time."""
    try:
        async with asyncio.timeout(seconds):
            return await future
    except TimeoutError:
        raise Transient(f"no answer in {seconds:.3g} s: {what}", reason="Unreachable") from None


def in_words(error: BaseException) -> str:
    """The cause at the bottom of what pika reports."""
    deepest = tls.causes(error)[-1]
    return f"{type(deepest).__name__}: {deepest}"


class _Properties(pika.BasicProperties):  # type: ignore[misc] # pika is untyped
    """Read as far as they can be.

    Else any worker's credentials could end the connection with a report: pika raises out of its
    reading over a header that Python has no value for, such as a date after the year 9999.
    """

    def decode(self, encoded: bytes, offset: int = 0) -> "_Properties":
        try:
            super().decode(encoded, offset)
        except Exception as error:  # which, pika says nowhere
            log.warning("properties-unreadable", error=repr(error))
        return self


# Where pika looks up what to read properties with.
pika.spec.props[pika.BasicProperties.INDEX] = _Properties
