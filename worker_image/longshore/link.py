"""One AMQP connection with a channel in confirm mode, driven by the thread that publishes.

pika's BlockingConnection waits for a confirm without a deadline: a quorum queue whose leader hangs
would hang the producer too. This drives pika's own event loop instead, never past a deadline.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from longshore.errors import (
    BrokerUnavailable,
    ConfirmTimeout,
    EnqueueError,
    InvalidJob,
    NotPermitted,
    QueueFull,
    QueueNotFound,
)

# pika logs each fault at length before it is raised here as one line. Where the application sets up
# no logging, Python would print that.
logging.getLogger("pika").addHandler(logging.NullHandler())

CLOSE_TIMEOUT = 2.0
"""Seconds that a goodbye to the broker may take."""

CONNECT_SURPLUS = 0.2
"""Seconds for pika to notice by itself that connecting took too long."""

_TIMEOUTS = (AMQPConnectorStackTimeout, TimeoutError)
_NOT_PERMITTED = 403
_NO_EXCHANGE = 404
_TOO_LARGE = 406


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
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


class Link:
    """A connection that is opened once and given up at its first fault.

    Deadlines are moments of `time.monotonic`. Not thread-safe: its owner holds a lock.
    """

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._parameters = parameters
        self._address = f"{parameters.host}:{parameters.port}"
        self._loop = IOLoop()
        self._connection: Any = None
        self._channel: Any = None
        self._ready = False
        self._closed = False
        self._lost: str | None = None
        self._blocked: str | None = None
        self._refused: tuple[int, str] | None = None
        self._returned = False
        self._confirmed: bool | None = None
        self._used_at = time.monotonic()

    def open(self, *, deadline: float) -> None:
        """Connect and open the channel. Raises BrokerUnavailable, and then the link is closed."""
        left = max(0.1, deadline - time.monotonic())
        parameters = copy(self._parameters)
        # pika 1.4 can end an attempt only by these: abort() fails an assertion of its own once TCP
        # is up. They hold for each address of a host, so the loop below has the last word.
        parameters.socket_timeout = parameters.stack_timeout = left
        pika.SelectConnection.create_connection(
            [parameters], on_done=self._on_connected, custom_ioloop=self._loop
        )
        self._run_until(lambda: self._ready or self._is_broken, deadline=deadline + CONNECT_SURPLUS)
        if not self._ready:
            reason = self._fault() or "it did not answer in time"
            self.abort()
            raise BrokerUnavailable(f"cannot connect to RabbitMQ at {self._address}: {reason}")

    def is_usable(self) -> bool:
        """Whether the connection still stands, as far as can be told without sending anything."""
        if self._closed or self._is_broken:
            return False
        heartbeat = self._connection.params.heartbeat or 0
        if heartbeat and time.monotonic() - self._used_at > 2 * heartbeat:
            # The broker has given it up by now. A firewall may have swallowed the news, so that
            # the socket looks open.
            return False
        self._loop.call_later(0, self._loop.stop)
        self._loop.start()
        return not self._is_broken

    def publish(self, publication: Publication, *, deadline: float) -> None:
        """Publish and wait for the broker's confirm. Raises EnqueueError.

        After any error but QueueNotFound by return and QueueFull the link is closed.
        """
        try:
            self._send(publication, deadline=deadline)
        except BaseException:
            # A confirm that comes later would be taken for the next job's.
            self.abort()
            raise
        if self._returned:
            raise QueueNotFound(
                f"{publication}: no such queue; is there a TaskQueue of that name, and is it ready?"
            )
        if not self._confirmed:
            raise QueueFull(
                f"{publication}: RabbitMQ refused it; the queue is full, or without a leader for a "
                "moment; nothing was stored, try again later"
            )

    def close(self) -> None:
        """Say goodbye to the broker; give up after `CLOSE_TIMEOUT` seconds."""
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
            self._run_until(
                lambda: self._lost is not None, deadline=time.monotonic() + CLOSE_TIMEOUT
            )
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._closed:
            return
        self._closed = True
        if self._connection is not None and not self._connection.is_closed:
            # What pika does itself at a missed heartbeat; it has no public name for it.
            self._connection._terminate_stream(pika.exceptions.ConnectionOpenAborted("given up"))
            self._run_until(lambda: self._lost is not None, deadline=time.monotonic() + 0.5)
        self._loop.close()

    @property
    def _is_broken(self) -> bool:
        return self._lost is not None or self._refused is not None

    def _fault(self) -> str | None:
        if self._refused is not None:
            return "{} {}".format(*self._refused)
        return self._lost

    def _send(self, publication: Publication, *, deadline: float) -> None:
        self._wait_while_blocked(deadline=deadline)
        self._returned, self._confirmed = False, None
        self._channel.basic_publish(
            publication.exchange,
            publication.routing_key,
            publication.body,
            pika.BasicProperties(**publication.properties),
            mandatory=True,
        )
        self._run_until(lambda: self._confirmed is not None or self._is_broken, deadline=deadline)
        if self._confirmed is None:
            raise self._no_answer(publication)

    def _wait_while_blocked(self, *, deadline: float) -> None:
        self._run_until(lambda: self._blocked is None or self._is_broken, deadline=deadline)
        if self._is_broken:
            raise LinkLost(f"RabbitMQ at {self._address} closed the connection: {self._fault()}")
        if self._blocked is not None:
            raise BrokerUnavailable(
                f"RabbitMQ at {self._address} takes no messages for now: {self._blocked}; "
                "nothing was stored"
            )

    def _no_answer(self, publication: Publication) -> EnqueueError:
        if self._refused is not None:
            code, text = self._refused
            kinds = {_NOT_PERMITTED: NotPermitted, _NO_EXCHANGE: QueueNotFound}
            kind = kinds.get(code, InvalidJob if code == _TOO_LARGE else EnqueueError)
            return kind(f"{publication}: RabbitMQ refused it: {code} {text}")
        if self._lost is not None:
            return LinkLost(
                f"{publication}: lost RabbitMQ at {self._address} before it confirmed "
                f"({self._lost}); the job may or may not be stored"
            )
        why = f"it is blocked: {self._blocked}" if self._blocked else "no confirm in time"
        return ConfirmTimeout(f"{publication}: {why}; the job may or may not be stored")

    def _run_until(self, done: Callable[[], bool], *, deadline: float) -> None:
        timer = self._loop.call_later(max(0.0, deadline - time.monotonic()), self._loop.stop)
        try:
            while not done() and time.monotonic() < deadline:
                self._loop.start()
        finally:
            self._loop.remove_timeout(timer)
            self._used_at = time.monotonic()

    def _on_connected(self, result: Any) -> None:
        if isinstance(result, BaseException):
            self._on_lost(None, _cause(result))
            return
        self._connection = result
        result.add_on_close_callback(self._on_lost)
        result.add_on_connection_blocked_callback(self._on_blocked)
        result.add_on_connection_unblocked_callback(self._on_unblocked)
        self._channel = result.channel(on_open_callback=self._on_channel_open)
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
        if isinstance(reason, _TIMEOUTS):
            self._lost = "it did not answer in time"
        else:
            self._lost = str(reason) or type(reason).__name__
        self._loop.stop()


def _cause(failure: BaseException) -> BaseException:
    """The error under pika's wrappers: a workflow's last attempt, and what it failed of."""
    attempts = getattr(failure, "exceptions", None)
    inner = attempts[-1] if attempts else getattr(failure, "exception", None)
    return _cause(inner) if isinstance(inner, BaseException) else failure
