"""One channel of a connection, of which nothing needs to be known before it is used.

In pika a channel says that it is open after its connection has closed, until its own turn to be
closed comes; and what it raises then is a matter of luck. Here `is_open` means that both are,
sending over a channel that has ended does nothing or raises Lost, and whoever uses a channel hears
of its end once, however it came about.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import pika
import pika.exceptions
from pika.channel import Channel as PikaChannel

from longshore.amqp import private
from longshore.amqp.errors import End, Lost, end_of, words
from longshore.amqp.inbound import Tags

ANSWER_TIMEOUT = 30.0
"""Seconds for the answer to one method; a quorum queue without leader never answers."""

T = TypeVar("T")


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

    def forget(self, callback: Callable[[End], None]) -> None:
        """Do not call `callback` when it ends."""
        with contextlib.suppress(ValueError):
            self._on_end.remove(callback)

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

    # Asked, and answered. Raises Lost.

    async def declare_exclusive(self) -> str:
        """A queue of this connection alone, classic and gone with it; its name."""
        declared = await self._ask(self._channel.queue_declare, queue="", exclusive=True)
        return str(declared.method.queue)

    async def bind(self, queue: str, *, exchange: str, key: str) -> None:
        """Bind a queue to an exchange."""
        await self._ask(self._channel.queue_bind, queue=queue, exchange=exchange, routing_key=key)

    async def set_prefetch(self, prefetch: int) -> None:
        """Have this hold for consumers to come. The answer comes behind the deliveries so far."""
        await self._ask(self._channel.basic_qos, prefetch_count=prefetch)

    async def start_consumer(
        self,
        queue: str,
        on_message: Callable[..., None],
        *,
        on_cancel: Callable[[], None] = lambda: None,
        auto_ack: bool = False,
    ) -> str:
        """Consume; the consumer's tag. `on_cancel` hears that the broker has cancelled it."""
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tag = self.consume(
            queue,
            on_message,
            on_cancel=on_cancel,
            on_started=lambda: resolve(started, None),
            auto_ack=auto_ack,
        )
        await answer(started, of=self)
        return tag

    async def stop_consumer(self, tag: str) -> None:
        """End the consumer, unless the broker has; what still arrives goes back."""
        if tag in self._channel.consumer_tags:
            private.return_when_cancelled(self._channel)
            await self._ask(self._channel.basic_cancel, tag)

    async def declare_passively(
        self, queues: Sequence[str], on_depth: Callable[[str, int, int], None]
    ) -> End | None:
        """Ask for the depths of queues, all under way at once.

        `on_depth` hears of each queue how many jobs are ready and how many consumers it has, in
        order. Returns why the channel has ended over the first queue without an answer.
        """
        waiting = list(queues[::-1])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answered(method: Any) -> None:
            on_depth(waiting.pop(), method.message_count, method.consumer_count)
            if not waiting:
                resolve(done, None)

        def ask_next(frame: Any) -> None:
            answered(frame.method)
            if waiting:
                self._tell(
                    self._channel.queue_declare, waiting[-1], passive=True, callback=ask_next
                )

        if not waiting:
            return None
        if not self._send(private.declare_together, self._channel, queues, answered):
            self._send(self._channel.queue_declare, waiting[-1], passive=True, callback=ask_next)
        try:
            await answer(done, of=self)
        except BaseException as error:
            if self.end is not None and isinstance(error, Lost):
                return self.end
            self.close()  # answers that are still to come would be taken for those of others
            raise
        return None

    async def _ask(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send(method, *arguments, callback=lambda frame: resolve(answered, frame), **options)
        return await answer(answered, of=self)

    # To the broker. Nothing is sent where it has ended, since nothing is left to be done then.

    def send_acks(self, acks: Tags, nacks: Tags) -> None:
        """Ack deliveries, then return others to their queue."""
        self._tell(self._send_acks, acks, nacks)

    def cancel(self, tag: str, *, on_cancelled: Callable[[], None]) -> None:
        """End the consumer; what still arrives goes back."""
        private.return_when_cancelled(self._channel)
        self._tell(self._channel.basic_cancel, tag, lambda _: on_cancelled())

    def give_back(self, tag: int) -> None:
        """Return one delivery to its queue."""
        self._tell(self._channel.basic_nack, tag, requeue=True)

    def close(self) -> None:
        """Close it."""
        self._tell(self._channel.close)

    def _send_acks(self, acks: Tags, nacks: Tags) -> None:
        channel = self._channel
        if channel.is_open and private.send_acks(
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


async def answer(waiting: "asyncio.Future[T]", *, of: Channel) -> T:
    """The result of a method's future. Raises Lost when it can't come any more."""

    def give_up(_: End) -> None:
        waiting.cancel()

    of.on_end(give_up)
    try:
        await asyncio.wait({waiting}, timeout=ANSWER_TIMEOUT)
    finally:
        of.forget(give_up)
    if waiting.done() and not waiting.cancelled():
        return waiting.result()
    if of.end:
        raise Lost(of.end.cause)
    raise Lost(f"no answer within {ANSWER_TIMEOUT:g} s")


def resolve(future: "asyncio.Future[T]", value: T) -> None:
    """Set a result that nobody may be waiting for any more."""
    if not future.done():
        future.set_result(value)
