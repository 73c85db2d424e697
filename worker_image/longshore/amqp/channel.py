"""One channel of a connection, of which nothing needs to be known before it is used.

In pika a channel says that it is open after its connection has closed, until its own turn to be
closed comes; and what it raises then is a matter of luck. Here `is_open` means that both are,
sending over a channel that has ended does nothing or raises Lost, and whoever uses a channel hears
of its end once, however it came about.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pika
import pika.exceptions
from pika.channel import Channel as PikaChannel

from longshore.amqp import inbound


class Lost(Exception):
    """A connection or channel has ended, or does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Why a channel has ended."""

    cause: str
    """In one line."""

    code: int | None = None
    """AMQP's reply code, where the broker has closed it or its connection."""

    is_of_channel: bool = False
    """The broker has closed this channel alone."""


class ConnectionOwner(Protocol):
    """The connection."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""

    def fail(self, error: Exception) -> None:
        """Give it up: pika has raised what it never should."""


class Channel:
    """What Longshore says over one channel."""

    def __init__(self, owner: ConnectionOwner, channel: PikaChannel) -> None:
        self.number: int = channel.channel_number
        self.end: End | None = None
        """Why it has ended, once it has."""

        self._owner = owner
        self._channel = channel
        self._on_end: list[Callable[[End], None]] = []
        channel.add_on_close_callback(lambda _, error: self.ended(end_of(error)))

    @property
    def is_open(self) -> bool:
        """Whether it can be used, and its connection too."""
        return self.end is None and self._owner.is_open and bool(self._channel.is_open)

    @property
    def frame_max(self) -> int:
        """Bytes of a frame, with its edges."""
        most: int = self._channel.connection.params.frame_max
        return most

    def on_end(self, callback: Callable[[End], None]) -> None:
        """Have `callback` called when it ends; at once if it has."""
        if self.end:
            callback(self.end)
        else:
            self._on_end.append(callback)

    def ended(self, end: End) -> None:
        """It has ended; only the first cause counts."""
        if self.end is None:
            self.end = end
            callbacks, self._on_end = self._on_end, []
            for callback in callbacks:
                callback(end)

    # To the broker. Raises Lost.

    def consume(
        self,
        queue: str,
        on_message: Callable[..., None],
        *,
        on_cancel: Callable[[], None] = lambda: None,
        on_started: Callable[[], None],
        prefetch: int = 0,
        auto_ack: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """Consume; the consumer's tag. `on_cancel` hears that the broker has cancelled it."""
        self._send(self._channel.add_on_cancel_callback, lambda _: on_cancel())
        if prefetch:
            self._send(self._channel.basic_qos, prefetch_count=prefetch)
        tag: str = self._send(
            self._channel.basic_consume,
            queue,
            on_message,
            auto_ack=auto_ack,
            arguments=dict(arguments or {}),
            callback=lambda _: on_started(),
        )
        return tag

    def consume_again(
        self,
        queue: str,
        on_message: Callable[..., None],
        *,
        tag: str,
        on_started: Callable[[], None],
        prefetch: int,
    ) -> None:
        """Consume by the tag of a consumer that was cancelled."""
        self._send(self._channel.basic_qos, prefetch_count=prefetch)
        self._send(
            self._channel.basic_consume,
            queue,
            on_message,
            consumer_tag=tag,
            callback=lambda _: on_started(),
        )

    def confirm(
        self,
        on_confirm: Callable[[Any], None],
        *,
        on_return: Callable[..., None],
        on_started: Callable[[], None],
    ) -> None:
        """Have publications confirmed from now on."""
        self._send(self._channel.add_on_return_callback, on_return)
        self._send(self._channel.confirm_delivery, on_confirm, callback=lambda _: on_started())

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: pika.BasicProperties,
        *,
        mandatory: bool = False,
    ) -> None:
        """Publish what fits into frames."""
        self._send(
            self._channel.basic_publish, exchange, key, body, properties, mandatory=mandatory
        )

    # To the broker. Nothing is sent where it has ended, since nothing is left to be done then.

    def settle(self, acks: inbound.Settled, nacks: inbound.Settled) -> None:
        """Ack deliveries, then return others to their queue."""
        self._tell(self._settle, acks, nacks)

    def cancel(self, tag: str, *, on_cancelled: Callable[[], None]) -> None:
        """End the consumer; what still arrives goes back."""
        # pika rejects what still arrives, and a reject counts as a failed delivery.
        self._channel.basic_reject = functools.partial(self._channel.basic_nack, requeue=True)
        self._tell(self._channel.basic_cancel, tag, lambda _: on_cancelled())

    def close(self) -> None:
        """Close it."""
        self._tell(self._channel.close)

    def _settle(self, acks: inbound.Settled, nacks: inbound.Settled) -> None:
        channel = self._channel
        if channel.is_open and inbound.settle(
            channel.connection, channel=self.number, acks=acks, nacks=nacks
        ):
            return
        for tag, multiple in acks:
            channel.basic_ack(tag, multiple)
        for tag, multiple in nacks:
            channel.basic_nack(tag, multiple, requeue=True)

    def _tell(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        if self.end is None:
            try:
                method(*arguments, **options)
            except pika.exceptions.AMQPError:  # it has closed, and nobody was told yet
                pass
            except Exception as error:
                self._owner.fail(error)

    def _send(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self.end:
            raise Lost(self.end.cause)
        if not self.is_open:
            raise Lost("the channel is closed")
        try:
            return method(*arguments, **options)
        except pika.exceptions.AMQPError as error:  # it has closed, and nobody was told yet
            raise Lost(words(error)) from None
        except Exception as error:
            self._owner.fail(error)
            raise Lost(words(error)) from error


def end_of(error: BaseException) -> End:
    """What pika tells of an end."""
    of_channel = isinstance(error, pika.exceptions.ChannelClosedByBroker)
    by_broker = of_channel or isinstance(error, pika.exceptions.ConnectionClosedByBroker)
    return End(
        cause=words(error),
        code=error.reply_code if by_broker else None,  # type: ignore[attr-defined]  # pika is untyped
        is_of_channel=of_channel,
    )


def words(error: BaseException) -> str:
    """An error of pika's in one line."""
    if isinstance(error, pika.exceptions.ConnectionClosed | pika.exceptions.ChannelClosed):
        return f"{error.reply_code} {error.reply_text}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
