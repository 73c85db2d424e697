"""One AMQP connection with a channel in confirm mode, driven by the thread that publishes.

pika's BlockingConnection waits for a confirm without a deadline, so a quorum queue whose leader
hangs would hang the producer too. This drives pika's own event loop instead, never past a deadline.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Protocol

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.nbio_interface import AbstractIOReference
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

from longshore.amqp.address import address_of
from longshore.amqp.errors import (
    NOT_FOUND,
    TOO_LARGE,
    Abandoned,
    End,
    LinkLost,
    end_of,
    opening_failure,
    words,
)
from longshore.amqp.private import close_socket_of
from longshore.amqp.publication import Publication
from longshore.errors import (
    BrokerUnavailable,
    ConfirmTimeout,
    EnqueueError,
    InvalidJob,
    NotPermitted,
    QueueFull,
    QueueNotFound,
)

_driving = threading.local()
"""Per thread: `is_link` is true while the thread drives a link."""

# pika logs each fault at length, in several layers, before it is raised here as one line.
for _name in (
    "pika.adapters.base_connection",
    "pika.adapters.utils.connection_workflow",
    "pika.adapters.utils.io_services_utils",
    "pika.channel",
    "pika.connection",
):
    logging.getLogger(_name).addFilter(lambda _: not getattr(_driving, "is_link", False))

CLOSE_TIMEOUT = 2.0
"""Seconds that an orderly close may take."""

_LOOK = 0.05
"""Seconds between two checks whether the caller still waits."""

_REFUSALS: Mapping[int | None, type[EnqueueError]] = {
    403: NotPermitted,
    NOT_FOUND: QueueNotFound,
    TOO_LARGE: InvalidJob,
}
"""By the reply code with which the broker closes the channel because of a message."""


class Caller(Protocol):
    """The caller that waits for a link."""

    stage: str
    """How far the call has got, for errors."""

    @property
    def deadline(self) -> float:
        """When the caller stops waiting, on the monotonic clock."""

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller no longer waits."""

    def begin(self) -> None:
        """Announce the step that cannot be undone. Raises Abandoned if the caller has left."""


class BlockingLink:
    """A connection to one address that is opened once and given up at its first fault.

    Deadlines are moments of `time.monotonic`. Not thread-safe: its owner uses it from one thread at
    a time.
    """

    def __init__(self, parameters: pika.ConnectionParameters, record: tuple[Any, ...]) -> None:
        """Prepare a link; `record` is one of the answers of `socket.getaddrinfo`."""
        self._parameters = copy(parameters)
        self._parameters.host = record[4][0]
        # The deadline and the retries are ours.
        self._parameters.connection_attempts = 1
        self._parameters.socket_timeout = self._parameters.stack_timeout = None
        if options := parameters.ssl_options:
            name = options.server_hostname or parameters.host
            self._parameters.ssl_options = pika.SSLOptions(options.context, name)
        self._address = address_of(*record[4][:2])
        self._services = _Services(record, on_stage=self._reached)
        self._loop = self._services.loop
        self._stage = ""
        self._caller: Caller | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._is_ready = False
        self._is_closed = False
        self._end: End | None = None
        self._blocked: str | None = None
        self._returned = False
        self._confirmed: bool | None = None
        self._used_at = time.monotonic()

    def open(self, caller: Caller, *, until: float) -> None:
        """Connect and open the channel. On failure, close the link and raise BrokerUnavailable."""
        begun = time.monotonic()
        failure: Exception | None = None
        try:
            self._caller = caller
            self._reached("connecting to")
            self._connect()
            self._run_until(
                lambda: self._is_ready or self._is_broken, deadline=until, caller=caller
            )
        except BaseException as error:
            self.abort()
            if isinstance(error, Abandoned) or not isinstance(error, Exception):
                raise
            # From the system, such as "no descriptor left", or from pika, at bytes not of AMQP.
            failure = error
        finally:
            self._caller = None
        if self._is_ready and not self._is_closed and not self._is_broken:
            return
        late = f"it did not answer in time ({max(0.0, until - begun):.3g} s)"
        reason = words(failure) if failure else self._end.cause if self._end else late
        self.abort()
        raise BrokerUnavailable(f"{self._stage}: {reason}") from failure

    def is_usable(self) -> bool:
        """Return whether the connection still works, as far as this shows without sending."""
        if self._is_closed or self._is_broken:
            return False
        heartbeat = self._connection.params.heartbeat or 0
        if heartbeat and time.monotonic() - self._used_at > 2 * heartbeat:
            # The broker has closed it by now. A firewall may have swallowed the notice, so that
            # the socket looks open.
            return False
        try:
            self._loop.call_later(0, self._loop.stop)
            self._loop.start()
        except Exception:  # at bytes that are not AMQP
            return False
        return not self._is_broken

    def wait_for_room(self, caller: Caller) -> None:
        """Wait until the broker accepts messages. Raises BrokerUnavailable at the deadline."""
        caller.stage = f"waiting for RabbitMQ at {self._address} to accept messages again"
        self._run_until(
            lambda: self._blocked is None or self._is_broken,
            deadline=caller.deadline,
            caller=caller,
        )
        if self._end is not None:
            raise LinkLost(f"RabbitMQ at {self._address} closed the connection: {self._end.cause}")
        if self._blocked is not None:
            raise BrokerUnavailable(
                f"RabbitMQ at {self._address} accepts no messages for now: {self._blocked}"
            )

    def publish(self, publication: Publication, caller: Caller) -> None:
        """Publish and wait for the broker's confirm. Raises EnqueueError.

        The link is closed after any error except QueueNotFound for a return, and QueueFull.
        """
        try:
            self._send(publication, caller)
        except BaseException:
            # A late confirm would be taken for the next job's.
            self.abort()
            raise
        if self._returned:
            raise QueueNotFound(
                f"{publication}: no such queue; check that its TaskQueue exists and is ready"
            )
        if not self._confirmed:
            raise QueueFull(
                f"{publication}: RabbitMQ refused it, because the queue is full or has no leader "
                "at the moment; nothing was stored, try again later"
            )

    def close(self) -> None:
        """Close the connection properly, but give up after `CLOSE_TIMEOUT` seconds."""
        try:
            if not self._is_closed and self._connection is not None and self._connection.is_open:
                self._connection.close()
                self._run_until(lambda: self._is_broken, deadline=time.monotonic() + CLOSE_TIMEOUT)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection without notice to the broker. Never raises."""
        self._services.shut()
        self._is_closed = True
        self._connection = self._channel = None

    @property
    def _is_broken(self) -> bool:
        return self._end is not None

    def _send(self, publication: Publication, caller: Caller) -> None:
        self._returned, self._confirmed = False, None
        caller.begin()
        caller.stage = f"waiting for the confirm of RabbitMQ at {self._address}"
        self._channel.basic_publish(
            publication.exchange,
            publication.key,
            publication.body,
            pika.BasicProperties(**publication.properties),
            mandatory=True,
        )
        self._run_until(
            lambda: self._confirmed is not None or self._is_broken,
            deadline=caller.deadline,
            caller=caller,
        )
        if self._confirmed is None:
            raise self._no_answer(publication)

    def _no_answer(self, publication: Publication) -> EnqueueError:
        end = self._end
        if end is not None and end.is_of_channel:
            return _REFUSALS.get(end.code, EnqueueError)(
                f"{publication}: RabbitMQ refused it: {end.cause}"
            )
        if end is not None:
            return LinkLost(
                f"{publication}: lost RabbitMQ at {self._address} before it confirmed "
                f"({end.cause}); the job may or may not be stored"
            )
        why = f"RabbitMQ is blocked: {self._blocked}" if self._blocked else "no confirm in time"
        return ConfirmTimeout(f"{publication}: {why}; the job may or may not be stored")

    def _run_until(
        self, done: Callable[[], bool], *, deadline: float, caller: Caller | None = None
    ) -> None:
        """Run pika's loop until `done`. Raises Abandoned once the caller no longer waits."""
        _driving.is_link = True
        try:
            while not done() and (left := deadline - time.monotonic()) > 0:
                if caller is not None and caller.is_abandoned:
                    raise Abandoned
                timer = self._loop.call_later(min(left, _LOOK), self._loop.stop)
                try:
                    self._loop.start()
                finally:
                    self._loop.remove_timeout(timer)
        finally:
            _driving.is_link = False
            self._used_at = time.monotonic()

    def _reached(self, stage: str) -> None:
        self._stage = f"{stage} {self._address}"
        if self._caller is not None:
            self._caller.stage = self._stage

    def _connect(self) -> None:
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=lambda _, error: self._on_end(
                End(cause=str(opening_failure(error)))
            ),
            on_close_callback=lambda _, error: self._on_end(end_of(error)),
            custom_ioloop=self._services,
        )
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)

    def _on_open(self, connection: Any) -> None:
        self._reached("opening a channel on")
        self._channel = connection.channel(on_open_callback=self._on_channel_open)
        self._channel.add_on_close_callback(self._on_channel_closed)

    def _on_channel_open(self, channel: Any) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _on_ready(self, _frame: Any) -> None:
        self._is_ready = True
        self._loop.stop()

    def _on_return(self, *_args: Any) -> None:
        # A return precedes the confirm of the same message.
        self._returned = True

    def _on_confirm(self, frame: Any) -> None:
        self._confirmed = isinstance(frame.method, pika.spec.Basic.Ack)
        self._loop.stop()

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self._blocked = str(frame.method.reason)

    def _on_unblocked(self, *_args: Any) -> None:
        self._blocked = None
        self._loop.stop()

    def _on_channel_closed(self, _channel: Any, error: BaseException) -> None:
        end = end_of(error)
        if end.is_of_channel:
            self._on_end(end)

    def _on_end(self, end: End) -> None:
        if self._end is None:
            self._end = end
        self._loop.stop()


class _Services(SelectorIOServicesAdapter):  # type: ignore[misc] # pika is untyped
    """pika's system calls for one address; they can be shut at any moment.

    When pika gives up by itself after TCP is connected, one of its own assertions fails. It would
    also resolve the address once more, in a thread.
    """

    def __init__(self, record: tuple[Any, ...], *, on_stage: Callable[[str], None]) -> None:
        self.loop = IOLoop()
        super().__init__(self.loop)
        self._record = record
        self._on_stage = on_stage
        self._socket: socket.socket | None = None
        self._watching: dict[int, Callable[[], None]] = {}

    def shut(self) -> None:
        """Stop all callbacks, and close what is open. Never raises."""
        # What pika does about an end at this point no longer matters.
        for callback in self._watching.values():
            close_socket_of(callback)
        with contextlib.suppress(Exception):
            if self._socket is not None:
                self._socket.close()
        with contextlib.suppress(Exception):
            self.loop.close()
        self._watching.clear()

    def getaddrinfo(
        self, *_: Any, on_done: Callable[[list[Any]], None], **__: Any
    ) -> AbstractIOReference:
        """Return the known address."""
        self.loop.add_callback(lambda: on_done([self._record]))
        return _Known()

    def connect_socket(
        self, sock: socket.socket, resolved_addr: Any, on_done: Callable[..., None]
    ) -> AbstractIOReference:
        """Connect by TCP."""
        self._socket = sock
        return super().connect_socket(sock, resolved_addr, on_done)

    def create_streaming_connection(
        self, protocol_factory: Callable[[], Any], *arguments: Any, **options: Any
    ) -> AbstractIOReference:
        """Shake hands by TLS, if it is used, and then by AMQP."""

        def talk() -> Any:
            self._on_stage("AMQP handshake with")
            return protocol_factory()

        self._on_stage("TLS handshake with")
        return super().create_streaming_connection(talk, *arguments, **options)

    def set_reader(self, fd: int, on_readable: Callable[[], None]) -> None:
        """As in pika, but remembered for `shut`."""
        self._watching[fd] = on_readable
        super().set_reader(fd, on_readable)

    def set_writer(self, fd: int, on_writable: Callable[[], None]) -> None:
        """As in pika, but remembered for `shut`."""
        self._watching[fd] = on_writable
        super().set_writer(fd, on_writable)


class _Known(AbstractIOReference):  # type: ignore[misc] # pika is untyped
    """A look-up that has already ended."""

    def cancel(self) -> bool:
        """Return False, because there is nothing to cancel."""
        return False
