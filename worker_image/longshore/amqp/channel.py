"""One channel of a connection, which may be used without a check of its state.

After a connection has closed, pika's channels still claim to be open until each is closed in turn,
and what they raise meanwhile depends on chance. Here `is_open` means that both the channel and its
connection are open, sending over a channel that has ended does nothing or raises Lost, and each
user of a channel is notified of its end once, whatever the cause.
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
"""Seconds for the answer to one method; a quorum queue without a leader never answers."""

T = TypeVar("T")


class ConnectionOwner(Protocol):
    """The connection of a channel."""

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""

    def fail(self, error: Exception) -> None:
        """Give up the connection, because pika has raised an unexpected error."""


class Channel:
    """The methods that Longshore uses on one channel."""

    def __init__(self, owner: ConnectionOwner, channel: PikaChannel) -> None:
        self.number: int = channel.channel_number
        self.end: End | None = None
        """The reason for its end, once it has ended."""

        self._owner = owner
        self._channel = channel
        self._on_end: list[Callable[[End], None]] = []
        channel.add_on_close_callback(lambda _, error: self.ended(end_of(error)))

    @property
    def is_open(self) -> bool:
        """Whether both the channel and its connection can be used."""
        return self.end is None and self._owner.is_open and bool(self._channel.is_open)

    @property
    def frame_max(self) -> int:
        """Maximum size of a frame in bytes, including its edges."""
        most: int = self._channel.connection.params.frame_max
        return most

    def on_end(self, callback: Callable[[End], None]) -> None:
        """Have `callback` called when the channel ends, or at once if it has ended."""
        if self.end:
            callback(self.end)
        else:
            self._on_end.append(callback)

    def forget(self, callback: Callable[[End], None]) -> None:
        """Do not call `callback` when the channel ends."""
        with contextlib.suppress(ValueError):
            self._on_end.remove(callback)

    def ended(self, end: End) -> None:
        """Record that the channel has ended; only the first cause counts."""
        if self.end is None:
            self.end = end
            callbacks, self._on_end = self._on_end, []
            for callback in callbacks:
                callback(end)

    # Sent to the broker. Each raises Lost.

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
        """Consume; return the consumer's tag. `on_cancel` is called if the broker cancels it."""
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
        """Consume under the tag of a consumer that was cancelled."""
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
        """Publish a message whose properties fit into a frame."""
        self._send(
            self._channel.basic_publish, exchange, key, body, properties, mandatory=mandatory
        )

    # Requests that wait for an answer. Each raises Lost.

    async def declare_exclusive(self) -> str:
        """Declare a classic queue that is deleted with this connection; return its name."""
        declared = await self._ask(self._channel.queue_declare, queue="", exclusive=True)
        return str(declared.method.queue)

    async def bind(self, queue: str, *, exchange: str, key: str) -> None:
        """Bind a queue to an exchange."""
        await self._ask(self._channel.queue_bind, queue=queue, exchange=exchange, routing_key=key)

    async def set_prefetch(self, prefetch: int) -> None:
        """Set the prefetch for new consumers. The answer follows all deliveries so far."""
        await self._ask(self._channel.basic_qos, prefetch_count=prefetch)

    async def start_consumer(
        self,
        queue: str,
        on_message: Callable[..., None],
        *,
        on_cancel: Callable[[], None] = lambda: None,
        auto_ack: bool = False,
    ) -> str:
        """Consume; return the consumer's tag. `on_cancel` is called if the broker cancels it."""
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
        """Stop the consumer, unless the broker already has; what still arrives is requeued."""
        if tag in self._channel.consumer_tags:
            private.return_when_cancelled(self._channel)
            await self._ask(self._channel.basic_cancel, tag)

    async def declare_passively(
        self, queues: Sequence[str], on_depth: Callable[[str, int, int], None]
    ) -> End | None:
        """Ask for the depths of several queues, all at once.

        `on_depth` is called for each queue in order, with its name and its numbers of ready jobs
        and of consumers. If the channel ends, returns why: the first queue without an answer is
        the cause.
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
            self.close()  # later answers would be mistaken for those to other calls
            raise
        return None

    async def _ask(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._send(method, *arguments, callback=lambda frame: resolve(answered, frame), **options)
        return await answer(answered, of=self)

    # Sent to the broker, unless the channel has ended, because then there is nothing left to do.

    def send_acks(self, acks: Tags, nacks: Tags) -> None:
        """Ack deliveries, then return others to their queue."""
        self._tell(self._send_acks, acks, nacks)

    def cancel(self, tag: str, *, on_cancelled: Callable[[], None]) -> None:
        """Stop the consumer; what still arrives is returned to the queue."""
        private.return_when_cancelled(self._channel)
        self._tell(self._channel.basic_cancel, tag, lambda _: on_cancelled())

    def give_back(self, tag: int) -> None:
        """Return one delivery to its queue."""
        self._tell(self._channel.basic_nack, tag, requeue=True)

    def close(self) -> None:
        """Close the channel."""
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
            except pika.exceptions.AMQPError:  # it has closed, but its end is not reported yet
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
        except pika.exceptions.AMQPError as error:  # it has closed, but its end is not reported yet
            raise Lost(words(error)) from None
        except Exception as error:
            self._owner.fail(error)
            raise Lost(words(error)) from error


async def answer(waiting: "asyncio.Future[T]", *, of: Channel) -> T:
    """Return the result of a method's future. Raises Lost if it can no longer arrive."""

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
    """Set the result of a future, unless it is done because nobody waits for it any more."""
    if not future.done():
        future.set_result(value)
