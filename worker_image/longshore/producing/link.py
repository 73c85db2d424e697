"""One AMQP connection with a channel in confirm mode, driven by the thread that publishes.

pika's BlockingConnection waits for a confirm without a deadline: a quorum queue whose leader hangs
would hang the producer too. This drives pika's own event loop instead, never past a deadline.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.nbio_interface import AbstractStreamProtocol
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter
from pika.tcp_socket_opts import set_sock_opts

from longshore.errors import (
    BrokerUnavailable,
    ConfirmTimeout,
    EnqueueError,
    InvalidJob,
    NotPermitted,
    QueueFull,
    QueueNotFound,
)
from longshore.producing.desk import Abandoned, Errand

# pika logs each fault at length before it is raised here as one line. Where the application sets up
# no logging, Python would print that.
logging.getLogger("pika").addHandler(logging.NullHandler())

CLOSE_TIMEOUT = 2.0
"""Seconds that a goodbye to the broker may take."""

_LOOK = 0.05
"""Seconds between two looks at whether anybody waits for the errand still."""

_NOT_PERMITTED = 403
_NO_EXCHANGE = 404
_TOO_LARGE = 406


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One message and where it goes."""

    queue: str
    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, Any]

    def __str__(self) -> str:
        return f"job {self.properties.get('message_id')} for queue {self.queue!r}"


class LinkLost(BrokerUnavailable):
    """The connection ended. What was published last may have arrived or not."""


class BlockingLink:
    """A connection to one address that is opened once and given up at its first fault.

    Deadlines are moments of `time.monotonic`. Not thread-safe: its owner uses it from one thread at
    a time.
    """

    def __init__(self, parameters: pika.ConnectionParameters, record: tuple[Any, ...]) -> None:
        """`record` is one of the answers of `socket.getaddrinfo`."""
        self._parameters = parameters
        self._record = record
        self._address = address_of(*record[4][:2])
        self._loop = IOLoop()
        self._services = SelectorIOServicesAdapter(self._loop)
        self._socket: socket.socket | None = None
        self._linking: Any = None
        self._transport: Any = None
        self._protocol: Any = None
        self._connection: Any = None
        self._channel: Any = None
        self._is_reachable = False
        self._is_secure = False
        self._ready = False
        self._closed = False
        self._lost: str | None = None
        self._blocked: str | None = None
        self._refused: tuple[int, str] | None = None
        self._returned = False
        self._confirmed: bool | None = None
        self._used_at = time.monotonic()

    def open(self, errand: Errand, *, until: float) -> None:
        """Connect and open the channel. Raises BrokerUnavailable, and then the link is closed.

        pika's own way cannot be given up in the middle: it fails an assertion of its own once TCP
        is up.
        """
        begun = time.monotonic()
        steps: list[tuple[str, Callable[[], object], Callable[[], bool]]] = [
            ("connecting to", self._connect, lambda: self._is_reachable),
            ("AMQP handshake with", self._shake_hands, lambda: self._connection.is_open),
            ("opening a channel on", self._open_channel, lambda: self._ready),
        ]
        if self._parameters.ssl_options is not None:
            # pika sends AMQP's first bytes as soon as TLS is up.
            steps.insert(1, ("TLS handshake with", self._shake_hands, lambda: self._is_secure))
            steps[2] = ("AMQP handshake with", lambda: None, lambda: self._connection.is_open)
        failure: Exception | None = None
        try:
            for doing, begin, is_done in steps:
                errand.stage = f"{doing} {self._address}"
                begin()
                if not self._comes_true(is_done, deadline=until, errand=errand):
                    break
            else:
                return
        except BaseException as error:
            self.abort()
            if isinstance(error, Abandoned) or not isinstance(error, Exception):
                raise
            # The system's, such as "no descriptor left", or pika's, at bytes that are no AMQP.
            failure = error
        late = f"it did not answer in time ({max(0.0, until - begun):.3g} s)"
        reason = _in_words(failure) if failure else self._fault() or late
        self.abort()
        raise BrokerUnavailable(f"{errand.stage}: {reason}") from failure

    def is_usable(self) -> bool:
        """Whether the connection still stands, as far as can be told without sending anything."""
        if self._closed or self._is_broken:
            return False
        heartbeat = self._connection.params.heartbeat or 0
        if heartbeat and time.monotonic() - self._used_at > 2 * heartbeat:
            # The broker has given it up by now. A firewall may have swallowed the news, so that
            # the socket looks open.
            return False
        try:
            self._loop.call_later(0, self._loop.stop)
            self._loop.start()
        except Exception:  # at bytes that are no AMQP
            return False
        return not self._is_broken

    def wait_for_room(self, errand: Errand) -> None:
        """Wait while the broker takes no messages. Raises BrokerUnavailable at the deadline."""
        errand.stage = f"waiting for RabbitMQ at {self._address} to take messages again"
        self._run_until(
            lambda: self._blocked is None or self._is_broken,
            deadline=errand.deadline,
            errand=errand,
        )
        if self._is_broken:
            raise LinkLost(f"RabbitMQ at {self._address} closed the connection: {self._fault()}")
        if self._blocked is not None:
            raise BrokerUnavailable(
                f"RabbitMQ at {self._address} takes no messages for now: {self._blocked}"
            )

    def publish(self, submission: Submission, errand: Errand) -> None:
        """Publish and wait for the broker's confirm. Raises EnqueueError.

        After any error but QueueNotFound by return and QueueFull the link is closed.
        """
        try:
            self._send(submission, errand)
        except BaseException:
            # A confirm that comes later would be taken for the next job's.
            self.abort()
            raise
        if self._returned:
            raise QueueNotFound(
                f"{submission}: no such queue; is there a TaskQueue of that name, and is it ready?"
            )
        if not self._confirmed:
            raise QueueFull(
                f"{submission}: RabbitMQ refused it; the queue is full, or without a leader for a "
                "moment; nothing was stored, try again later"
            )

    def close(self) -> None:
        """Say goodbye to the broker; give up after `CLOSE_TIMEOUT` seconds."""
        try:
            if not self._closed and self._connection is not None and self._connection.is_open:
                self._connection.close()
                self._run_until(
                    lambda: self._lost is not None, deadline=time.monotonic() + CLOSE_TIMEOUT
                )
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection without a word. Raises nothing."""
        if self._closed:
            return
        self._closed = True
        # What pika makes of an end in the middle is of no interest to anybody any more.
        with contextlib.suppress(Exception):
            self._cut()
        with contextlib.suppress(Exception):
            self._loop.close()

    def _cut(self) -> None:
        if self._transport is not None and self._lost is None:
            self._protocol.is_given_up = True
            self._transport.abort()
            self._run_until(lambda: self._lost is not None, deadline=time.monotonic() + 0.5)
        elif self._linking is not None:
            self._linking.cancel()
        elif self._socket is not None:
            self._socket.close()

    @property
    def _is_broken(self) -> bool:
        return self._lost is not None or self._refused is not None

    def _fault(self) -> str | None:
        if self._refused is not None:
            return "{} {}".format(*self._refused)
        return self._lost

    def _send(self, submission: Submission, errand: Errand) -> None:
        self._returned, self._confirmed = False, None
        errand.begin()
        errand.stage = f"waiting for the confirm of RabbitMQ at {self._address}"
        self._channel.basic_publish(
            submission.exchange,
            submission.routing_key,
            submission.body,
            pika.BasicProperties(**submission.properties),
            mandatory=True,
        )
        self._run_until(
            lambda: self._confirmed is not None or self._is_broken,
            deadline=errand.deadline,
            errand=errand,
        )
        if self._confirmed is None:
            raise self._no_answer(submission)

    def _no_answer(self, submission: Submission) -> EnqueueError:
        if self._refused is not None:
            code, text = self._refused
            kinds = {_NOT_PERMITTED: NotPermitted, _NO_EXCHANGE: QueueNotFound}
            kind = kinds.get(code, InvalidJob if code == _TOO_LARGE else EnqueueError)
            return kind(f"{submission}: RabbitMQ refused it: {code} {text}")
        if self._lost is not None:
            return LinkLost(
                f"{submission}: lost RabbitMQ at {self._address} before it confirmed "
                f"({self._lost}); the job may or may not be stored"
            )
        why = f"it is blocked: {self._blocked}" if self._blocked else "no confirm in time"
        return ConfirmTimeout(f"{submission}: {why}; the job may or may not be stored")

    def _comes_true(self, done: Callable[[], bool], *, deadline: float, errand: Errand) -> bool:
        self._run_until(lambda: done() or self._is_broken, deadline=deadline, errand=errand)
        return not self._is_broken and done()

    def _run_until(
        self, done: Callable[[], bool], *, deadline: float, errand: Errand | None = None
    ) -> None:
        """Raises Abandoned once nobody waits for the errand any more."""
        try:
            while not done() and (left := deadline - time.monotonic()) > 0:
                if errand is not None and errand.is_abandoned:
                    raise Abandoned
                timer = self._loop.call_later(min(left, _LOOK), self._loop.stop)
                try:
                    self._loop.start()
                finally:
                    self._loop.remove_timeout(timer)
        finally:
            self._used_at = time.monotonic()

    def _connect(self) -> None:
        family, kind, protocol, _, address = self._record
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_sock_opts(self._parameters.tcp_options, self._socket)
        self._socket.setblocking(False)
        error = self._socket.connect_ex(address)
        if error not in (0, errno.EINPROGRESS):
            raise OSError(error, os.strerror(error))
        self._loop.add_handler(self._socket.fileno(), self._on_connected, self._loop.WRITE)

    def _on_connected(self, descriptor: int, _events: int) -> None:
        self._loop.remove_handler(descriptor)
        assert self._socket is not None  # noqa: S101 - for mypy; the handler is its
        if error := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._on_lost(None, OSError(error, os.strerror(error)))
        self._is_reachable = True
        self._loop.stop()

    def _shake_hands(self) -> None:
        self._connection = pika.SelectConnection(
            copy(self._parameters),
            on_open_callback=lambda _: self._loop.stop(),
            on_open_error_callback=self._on_lost,
            on_close_callback=self._on_lost,
            custom_ioloop=self._loop,
            internal_connection_workflow=False,
        )
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._protocol = _Protocol(self._connection)
        tls = self._parameters.ssl_options
        self._linking = self._services.create_streaming_connection(
            protocol_factory=lambda: self._protocol,
            sock=self._socket,
            on_done=self._on_linked,
            ssl_context=tls.context if tls else None,
            server_hostname=(tls.server_hostname or self._parameters.host) if tls else None,
        )

    def _on_linked(self, result: Any) -> None:
        self._linking = self._socket = None
        if isinstance(result, BaseException):
            self._on_lost(None, result)
        else:
            self._transport = result[0]
            self._is_secure = True
        self._loop.stop()

    def _open_channel(self) -> None:
        self._channel = self._connection.channel(on_open_callback=self._on_channel_open)
        self._channel.add_on_close_callback(self._on_channel_closed)

    def _on_channel_open(self, channel: Any) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=self._on_ready)

    def _on_ready(self, _frame: Any) -> None:
        self._ready = True
        self._loop.stop()

    def _on_return(self, *_args: Any) -> None:
        # Comes before the confirm of the same message.
        self._returned = True

    def _on_confirm(self, frame: Any) -> None:
        self._confirmed = isinstance(frame.method, pika.spec.Basic.Ack)
        self._loop.stop()

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self._blocked = str(frame.method.reason)

    def _on_unblocked(self, *_args: Any) -> None:
        self._blocked = None
        self._loop.stop()

    def _on_channel_closed(self, _channel: Any, reason: Any) -> None:
        if isinstance(reason, pika.exceptions.ChannelClosedByBroker):
            self._refused = (reason.reply_code, reason.reply_text)
            self._loop.stop()

    def _on_lost(self, _connection: Any, reason: BaseException) -> None:
        self._lost = _in_words(reason)
        self._loop.stop()


class _Protocol(AbstractStreamProtocol):  # type: ignore[misc] # pika is untyped
    """What pika's transport reports, to pika's connection: what its own workflow puts there."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.is_given_up = False

    def connection_made(self, transport: Any) -> None:
        self._connection._proto_connection_made(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        if error is None and self.is_given_up:
            # pika wants a reason, and knows none where the end is ours.
            error = pika.exceptions.ConnectionOpenAborted("given up")
        self._connection._proto_connection_lost(error)

    def eof_received(self) -> Any:
        return self._connection._proto_eof_received()

    def data_received(self, data: bytes) -> None:
        self._connection._proto_data_received(data)


def address_of(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _in_words(error: BaseException) -> str:
    return str(error) or type(error).__name__
