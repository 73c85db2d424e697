"""An open AMQP connection, from its opening by `dial` to its end."""

import asyncio
import random
import traceback
from collections.abc import Callable
from typing import Any

from pika.adapters.asyncio_connection import AsyncioConnection

from longshore.amqp import private
from longshore.amqp.channel import Channel, T, answer, resolve
from longshore.amqp.errors import End, Lost, end_of, words
from longshore.amqp.guard import Guard
from longshore.amqp.inbound import Listener
from longshore.contract import backoff
from longshore.contract.features import Features, features_of
from longshore.logs import Log

CLOSE_TIMEOUT = 2.0
"""Seconds that an orderly close may take."""

_LEAST_FRAME_MAX = 4096

log = Log("longshore.connection")


class Backoff:
    """Growing pauses with jitter, so that workers that failed together don't return together."""

    def __init__(
        self,
        *,
        first: float = 0.2,
        most: float = 15.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first = first
        self._most = most
        self._chance = chance
        self._failures = 0

    async def pause(self) -> None:
        """Wait a little longer than last time."""
        self._failures += 1
        await asyncio.sleep(
            backoff.delay_after(
                self._failures,
                first=self._first,
                most=self._most,
                jitter=backoff.BELOW,
                chance=self._chance(),
            )
        )

    def reset(self) -> None:
        """Begin with short pauses again, because an attempt has succeeded."""
        self._failures = 0


class Connection:
    """An open connection. pika's callbacks for it run through `guard`.

    Raises KeyError, ValueError or TypeError if the broker's version is missing, wrong or too old,
    and ValueError if its frame_max is too small.
    """

    def __init__(self, connection: AsyncioConnection, guard: Guard) -> None:
        self.version = _text(connection.server_properties["version"])
        self.features: Features = features_of(self.version)
        if (frame_max := connection.params.frame_max) < _LEAST_FRAME_MAX:
            raise ValueError(f"frame_max is {frame_max}; AMQP requires at least {_LEAST_FRAME_MAX}")
        self._connection = connection
        self._guard = guard
        self._channels: list[Channel] = []
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        guard.on_fault = self.fail
        connection.add_on_close_callback(lambda _, error: self._end(end_of(error)))
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(lambda *_: self._unblocked.set())

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return (
            bool(self._connection.is_open) and not self._guard.is_shut and not self._closed.done()
        )

    @property
    def is_blocked(self) -> bool:
        """Whether the broker, short of memory or disk, accepts no publications."""
        return not self._unblocked.is_set()

    async def unblocked(self) -> None:
        """Return once the connection is not blocked, or is lost."""
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self._unblocked.wait())
        try:
            ends: set[asyncio.Future[Any]] = {waiting, self._closed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def closed(self) -> str:
        """Return the reason for the end, once the connection has ended."""
        return await asyncio.shield(self._closed)

    async def channel(self) -> Channel:
        """Open a new channel. Raises Lost."""
        if not self.is_open:
            raise Lost(self._closed.result() if self._closed.done() else "the connection is closed")
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            raw = self._connection.channel(on_open_callback=lambda _: resolve(opened, None))
        except Exception as error:
            raise Lost(words(error)) from None
        channel = Channel(self, raw)
        self._channels = [each for each in self._channels if each.end is None]
        self._channels.append(channel)
        try:
            await self.answer(opened, of=channel)
        except BaseException:  # also if the caller is cancelled, since it may still open
            channel.close()
            raise
        return channel

    def listen(self, channel: Channel, listener: Listener) -> None:
        """Have deliveries on `channel` arrive in batches, bypassing `consume`, if possible."""
        private.listen(self._connection, channel=channel.number, listener=listener)

    def leave(self, channel: Channel) -> None:
        """Ignore any further deliveries on `channel`."""
        private.leave(self._connection, channel=channel.number)

    async def answer(self, waiting: asyncio.Future[T], *, of: Channel) -> T:
        """Return the result of a method's future. Raises Lost if it can no longer arrive."""
        return await answer(waiting, of=of)

    async def close(self) -> None:
        """Close the connection, within `CLOSE_TIMEOUT` seconds."""
        try:
            if self.is_open:
                try:
                    self._connection.close()
                except Exception as error:
                    self.fail(error)
                await asyncio.wait({self._closed}, timeout=CLOSE_TIMEOUT)
        finally:
            self._guard.shut()
            self._end(End(cause="closed"))

    def fail(self, error: Exception) -> None:
        """Give up the connection after pika or our callback raised `error`; the worker goes on."""
        if self._guard.is_shut:
            return
        lines = traceback.format_exception(error)
        log.error("connection-broken", error=words(error), traceback="".join(lines)[-4096:])
        self._guard.shut()
        # Not at once, because the current caller may be in the middle of sending.
        asyncio.get_running_loop().call_soon(self._end, End(cause=words(error)))

    def _end(self, end: End) -> None:
        if self._closed.done():
            return
        self._closed.set_result(end.cause)
        self._unblocked.set()
        asyncio.get_running_loop().call_soon(self._guard.shut)
        for channel in self._channels:
            channel.ended(end)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        log.warning("connection-blocked", reason=_text(frame.method.reason))
        self._unblocked.clear()


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
