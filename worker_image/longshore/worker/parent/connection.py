"""One AMQP connection: opened with patience, awaited to its end. All of pika that waits is here."""

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import pika
import pika.exceptions
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel

from longshore.contract.features import Features, features_of
from longshore.worker import termination
from longshore.worker.parent import inbound
from longshore.worker.parent.logs import Log

OPEN_TIMEOUT = 15.0
"""Seconds for the TCP, TLS and AMQP handshakes together."""

ANSWER_TIMEOUT = 30.0
"""Seconds for the answer to one method; a quorum queue without leader never answers."""

SLOWEST_RETRY = 3.0
"""Seconds between two attempts to connect, at most: so soon after a broker is back, all work."""

T = TypeVar("T")

log = Log("longshore.connection")


class Lost(Exception):
    """A connection or channel has ended, or does not answer."""


class Backoff:
    """Growing pauses with jitter, so that workers that failed together don't return together."""

    def __init__(self, *, first: float = 0.2, most: float = 15.0) -> None:
        self._first = first
        self._most = most
        self._tries = 0

    async def pause(self) -> None:
        """Wait a little longer than the last time."""
        delay = min(self._most, self._first * 2.0**self._tries)
        self._tries = min(self._tries + 1, 30)
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def reset(self) -> None:
        """It works again."""
        self._tries = 0


class Connection:
    """An open connection. `lost` becomes true with the first sign of its end."""

    def __init__(self, connection: AsyncioConnection) -> None:
        self._connection = connection
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._unblocked = asyncio.Event()
        self._unblocked.set()
        self.features: Features = features_of(_text(connection.server_properties["version"]))
        self.version = _text(connection.server_properties["version"])
        connection.add_on_close_callback(self._on_close)
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(lambda *_: self._unblocked.set())

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return bool(self._connection.is_open) and not self._closed.done()

    @property
    def is_blocked(self) -> bool:
        """Whether the broker, short of memory or disk, reads no publications."""
        return not self._unblocked.is_set()

    async def unblocked(self) -> None:
        """Return when publishing makes sense: it is not blocked, or lost."""
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self._unblocked.wait())
        try:
            ends: set[asyncio.Future[Any]] = {waiting, self._closed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def closed(self) -> str:
        """Why it ended, once it has."""
        return await asyncio.shield(self._closed)

    async def channel(self) -> Channel:
        """A new channel. Raises Lost."""
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        try:
            self._connection.channel(on_open_callback=lambda channel: resolve(opened, channel))
        except pika.exceptions.AMQPError as error:
            raise Lost(words(error)) from None
        return await self.answer(opened)

    def listen(self, channel: Channel, listener: inbound.Listener) -> None:
        """Have deliveries on `channel` come in batches, past `basic_consume`, where that works."""
        inbound.listen(self._connection, channel=channel.channel_number, listener=listener)

    def leave(self, channel: Channel) -> None:
        """No more deliveries on `channel`, please."""
        inbound.leave(self._connection, channel=channel.channel_number)

    async def answer(self, waiting: asyncio.Future[T]) -> T:
        """The result of a method's future. Raises Lost when it can't come any more."""
        ends: set[asyncio.Future[Any]] = {waiting, self._closed}
        await asyncio.wait(
            ends,
            timeout=ANSWER_TIMEOUT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if waiting.done():
            return waiting.result()
        if self._closed.done():
            raise Lost(self._closed.result())
        raise Lost(f"no answer within {ANSWER_TIMEOUT:g} s")

    async def close(self) -> None:
        """End it; not later than after two seconds."""
        if self.is_open:
            self._connection.close()
        await asyncio.wait({self._closed}, timeout=2.0)

    def _on_close(self, _connection: Any, error: BaseException) -> None:
        resolve(self._closed, words(error))
        self._unblocked.set()

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        log.warning("connection-blocked", reason=_text(frame.method.reason))
        self._unblocked.clear()


async def connect(
    parameters: pika.connection.Parameters,
    *,
    purpose: str,
    note: Callable[[str], None] = lambda _: None,
) -> Connection:
    """Open a connection, however long it takes; `purpose` is what the log calls it.

    `note` is told why an attempt failed.
    """
    backoff = Backoff(most=SLOWEST_RETRY)
    refused = False
    while True:
        try:
            connection = await _open(parameters)
        except Lost as error:
            refused = isinstance(error, Refused)
            log.warning(
                "connect-failed",
                connection=purpose,
                host=parameters.host,
                port=parameters.port,
                vhost=parameters.virtual_host,
                error=str(error),
            )
            why = f"RabbitMQ at {parameters.host}:{parameters.port}: {error}"
            note(why)
            if refused:
                termination.tell(why)
            await backoff.pause()
            continue
        if refused:
            termination.tell("")
        log.info("connected", connection=purpose, version=connection.version)
        return connection


class Refused(Lost):
    """The broker knows us not: wrong user, password or vhost."""


async def _open(parameters: pika.connection.Parameters) -> Connection:
    opened: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    def on_open(connection: AsyncioConnection) -> None:
        try:
            resolve(opened, Connection(connection))
        except (KeyError, ValueError) as error:  # no version, or one too old
            if not opened.done():
                opened.set_exception(Lost(str(error)))
            connection.close()

    def on_error(_connection: Any, error: BaseException) -> None:
        if not opened.done():
            opened.set_exception(_reason(error))

    connection = inbound.connection_class()(
        parameters, on_open_callback=on_open, on_open_error_callback=on_error
    )
    done, _ = await asyncio.wait({opened}, timeout=OPEN_TIMEOUT)
    if not done:
        if not connection.is_closed and not connection.is_closing:
            connection.close()
        raise Lost(f"no connection within {OPEN_TIMEOUT:g} s")
    return opened.result()


def _reason(error: BaseException) -> Lost:
    refusals = (
        pika.exceptions.AuthenticationError,
        pika.exceptions.ProbableAuthenticationError,
        pika.exceptions.ProbableAccessDeniedError,
    )
    causes = [error]
    while cause := causes[-1].__cause__ or next(iter(getattr(causes[-1], "exceptions", ())), None):
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, refusals):
            return Refused(f"refused: {words(cause)}")
        if isinstance(cause, ssl.SSLError | OSError):
            return Lost(words(cause))
    return Lost(words(error))


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Set a result that nobody may be waiting for any more."""
    if not future.done():
        future.set_result(value)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def words(error: BaseException) -> str:
    """An error of pika's in one line."""
    if isinstance(error, pika.exceptions.ConnectionClosed | pika.exceptions.ChannelClosed):
        return f"{error.reply_code} {error.reply_text}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
