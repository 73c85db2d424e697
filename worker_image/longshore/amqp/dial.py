"""Opens connections: retries all addresses of a broker, each within its share of the time.

pika itself stops at the first of several addresses that accepts TCP and then sends nothing, and its
timeouts apply to each address separately.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from copy import copy

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from longshore.amqp import private
from longshore.amqp.address import Parameters
from longshore.amqp.channel import resolve
from longshore.amqp.connection import Backoff, Connection
from longshore.amqp.errors import Lost, Refused, opening_failure, words
from longshore.amqp.guard import Guard
from longshore.contract.timing import CONNECT_TIMEOUT
from longshore.logs import Log

OPEN_TIMEOUT = 10.0
"""Seconds for the TCP, TLS and AMQP handshakes together, divided among a broker's addresses."""

LEAST_SHARE = 1.0
"""Minimum seconds for each address, however many there are."""

SLOWEST_RETRY = 3.0
"""Maximum seconds between two attempts, so that all workers reconnect soon to a broker."""

log = Log("longshore.connection")

_answered: dict[tuple[str, int], str] = {}
"""By a broker's host and port: the address of the latest connection, which is tried first."""


class Dial:
    """Opens connections to one broker, one after another.

    `purpose` is the connections' name in the log. `note` is called with the reason when an attempt
    fails. `refused` is called with the reason when the broker refuses us, and with an empty text
    once it accepts us.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        purpose: str,
        note: Callable[[str], None] = lambda _: None,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._parameters = parameters
        self._place = parameters.host, parameters.port
        self._note = note
        self._refused = refused
        self._purpose = purpose
        self._looking_up: asyncio.Future[list[str] | Exception] | None = None

    async def connect(self) -> Connection:
        """Open a connection, however long that takes."""
        parameters = self._parameters
        backoff = Backoff(most=SLOWEST_RETRY)
        is_refused = False
        while True:
            try:
                connection = await self.open()
            except Lost as error:
                is_refused = isinstance(error, Refused)
                log.warning(
                    "connection-failed",
                    connection=self._purpose,
                    host=parameters.host,
                    port=parameters.port,
                    vhost=parameters.virtual_host,
                    error=str(error),
                )
                why = f"RabbitMQ at {parameters.host}:{parameters.port}: {error}"
                self._note(why)
                if is_refused:
                    self._refused(why)
                await backoff.pause()
                continue
            if is_refused:
                self._refused("")
            log.info("connection-opened", connection=self._purpose, version=connection.version)
            return connection

    async def open(self) -> Connection:
        """Open a connection; try each address once. Raises Lost, with each attempt's progress."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + OPEN_TIMEOUT
        addresses = await self._addresses(within=OPEN_TIMEOUT / 2)
        failures: list[Lost] = []
        for index, address in enumerate(addresses):
            share = (deadline - loop.time()) / (len(addresses) - index)
            try:
                connection = await self._open(address, within=max(LEAST_SHARE, share))
            except Lost as error:
                failures.append(error)
            else:
                _answered[self._place] = address
                return connection
        raise _summary(addresses, failures)

    async def _addresses(self, *, within: float) -> list[str]:
        """Return the broker's addresses, the last one that answered first. Raises Lost."""
        parameters = self._parameters
        if self._looking_up is None:
            self._looking_up = _look_up(parameters.host, parameters.port)
        await asyncio.wait({self._looking_up}, timeout=within)
        if not self._looking_up.done():  # the next attempt awaits it again
            raise Lost(f"{parameters.host} was not resolved within {within:g} s")
        found, self._looking_up = self._looking_up.result(), None
        if isinstance(found, Exception):
            raise Lost(f"cannot resolve {parameters.host}: {words(found)}")
        return sorted(found, key=lambda address: address != _answered.get(self._place))

    async def _open(self, address: str, *, within: float) -> Connection:
        """Open a connection to one address. Raises Lost."""
        guard = Guard(asyncio.get_running_loop())
        result: Connection | Lost | None = None
        try:
            result = await self._attempt(address, guard, within=within)
        except Exception as error:
            result = opening_failure(error)
        finally:
            if not isinstance(result, Connection):
                guard.shut()
        if isinstance(result, Lost):
            raise result
        return result

    async def _attempt(self, address: str, guard: Guard, *, within: float) -> Connection | Lost:
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Connection | Lost] = loop.create_future()
        guard.on_fault = lambda error: resolve(opened, opening_failure(error))

        def on_open(connection: AsyncioConnection) -> None:
            try:
                resolve(opened, Connection(connection, guard))
            except (KeyError, TypeError, ValueError) as error:  # the version is missing or too old
                resolve(opened, Lost(str(error)))

        connection = private.connection_class()(
            self._parameters_for(address, within=within),
            on_open_callback=on_open,
            on_open_error_callback=lambda _, error: resolve(opened, opening_failure(error)),
            custom_ioloop=guard,
        )
        await asyncio.wait({opened}, timeout=within)
        return opened.result() if opened.done() else self._too_slow(connection, within)

    def _parameters_for(self, address: str, *, within: float) -> Parameters:
        parameters = copy(self._parameters)
        parameters.host = address
        parameters.socket_timeout = min(CONNECT_TIMEOUT, within)
        # The deadline is ours: pika's own tries to close a connection while it opens, and fails.
        parameters.stack_timeout = None
        if options := parameters.ssl_options:
            name = options.server_hostname or self._parameters.host
            parameters.ssl_options = pika.SSLOptions(options.context, name)
        return parameters

    def _too_slow(self, connection: AsyncioConnection, within: float) -> Lost:
        state = connection.connection_state
        reached = {
            connection.CONNECTION_PROTOCOL: "TCP is connected, but the broker has sent nothing",
            connection.CONNECTION_START: "the broker has not answered the login",
            connection.CONNECTION_TUNE: "the broker has not opened the vhost",
        }
        encrypted = self._parameters.ssl_options is not None
        before = "no TLS handshake" if encrypted else "no TCP handshake"
        return Lost(f"no connection within {within:.3g} s: {reached.get(state, before)}")


def _look_up(host: str, port: int) -> asyncio.Future[list[str] | Exception]:
    """Resolve `host` to its addresses, each once."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str] | Exception] = loop.create_future()
    with contextlib.suppress(OSError, UnicodeError):
        found.set_result(_resolved(host, port, flags=socket.AI_NUMERICHOST))
        return found

    def look_up() -> None:
        result: list[str] | Exception
        try:
            result = _resolved(host, port)
        except Exception as error:
            result = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(resolve, found, result)

    try:
        # Not asyncio's threads, because the worker would wait for them when it ends, and a resolver
        # that hangs takes half a minute or more.
        threading.Thread(target=look_up, name="look-up", daemon=True).start()
    except RuntimeError as error:  # no thread can be started
        found.set_result(error)
    return found


def _resolved(host: str, port: int, *, flags: int = 0) -> list[str]:
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags
    )
    return list(dict.fromkeys(_host_of(*address) for *_, address in found))


def _host_of(host: str, _port: int, _flow: int = 0, scope: int = 0) -> str:
    """Return an IPv6 address with its interface, without which a link-local one is useless."""
    return f"{host}%{scope}" if scope and "%" not in host else host


def _summary(addresses: Sequence[str], failures: Sequence[Lost]) -> Lost:
    if len(failures) == 1:
        return failures[0]
    kind = Refused if any(isinstance(each, Refused) for each in failures) else Lost
    attempts = zip(addresses, failures, strict=True)
    text = "; ".join(f"{where}: {error}" for where, error in attempts)
    return kind(text, exceptions=failures)
