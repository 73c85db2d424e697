"""The consuming side: deliveries in, acks out, and one path for all losses of deliveries."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from longshore.amqp.address import Parameters
from longshore.amqp.channel import resolve
from longshore.amqp.connection import Backoff, Connection
from longshore.amqp.dial import Dial
from longshore.amqp.errors import Lost
from longshore.contract.config import QueueType
from longshore.logs import Log
from longshore.worker.linux import termination
from longshore.worker.parent.broker.subscription import (
    LONG_SILENCE,
    SHORT_SILENCE,
    Delivery,
    Subscription,
)

HEALTHY_AFTER = 5.0
"""Seconds of consuming after which a loss counts as the first one, and is retried quickly."""

log = Log("longshore.consumer")


class DeliveryListener(Protocol):
    """Takes in deliveries, and is notified of those that the broker has taken back."""

    def on_deliveries(self, deliveries: list[Delivery]) -> None:
        """Called when these deliveries have arrived."""

    def on_void(self, deliveries: list[Delivery]) -> None:
        """Called when the broker has taken these back: nothing about them counts any more."""


def _nothing() -> None:
    pass


class Consumer:
    """Consumes `queue` over a connection of its own, and reconnects until drained.

    406, a basic.cancel by the broker and a lost connection take the same path: all deliveries
    become void, the channels are closed, and a new one is opened.

    `on_consuming` is called whenever the broker has started to send jobs, `on_loss` whenever it has
    stopped. `room` returns how many jobs to request on a new connection, given how many were
    requested on the last one. It may be fewer, because jobs of the last connection that the broker
    has taken back may still occupy slots.
    """

    def __init__(
        self,
        parameters: Parameters,
        listener: DeliveryListener,
        *,
        queue: str,
        queue_type: QueueType = QueueType.QUORUM,
        prefetch: int,
        ack_timeout: float,
        room: Callable[[int], int] = lambda prefetch: prefetch,
        on_consuming: Callable[[], None] = _nothing,
        on_loss: Callable[[], None] = _nothing,
    ) -> None:
        self.trouble = ""
        """Why it is not consuming, as of the last attempt; empty until one has failed."""

        self._listener = listener
        self._room = room
        self._on_consuming = on_consuming
        self._on_loss = on_loss
        self._dial = Dial(parameters, purpose="consume", note=self._note, refused=termination.tell)
        self._queue = queue
        self._is_quorum = queue_type is QueueType.QUORUM
        self._prefetch = self._least = prefetch
        self._ack_timeout = ack_timeout
        self._connection: Connection | None = None
        self._current: Subscription | None = None
        self._retired: list[Subscription] = []
        """Earlier subscriptions, some of whose jobs may still run."""

        self._retirement = asyncio.Lock()
        self._lost: asyncio.Future[str] | None = None
        self._has_ack_timeout = True
        self._is_consuming = False
        self._draining = False
        self._is_cordoned = False

    @property
    def is_consuming(self) -> bool:
        """Whether the broker sends jobs to this worker."""
        return self._is_consuming and not self._draining

    def _note(self, trouble: str) -> None:
        self.trouble = trouble

    @property
    def prefetch(self) -> int:
        """Unacked jobs that the broker may send, beside earlier ones; 0 while it must not."""
        return self._prefetch

    async def run(self) -> None:
        """Consume until cancelled or, after `drain`, until the connection ends."""
        backoff, loop = Backoff(), asyncio.get_running_loop()
        while not self._draining:
            self._connection = connection = await self._dial.connect()
            while connection.is_open and not self._draining:
                since = loop.time()
                try:
                    cause = await self._consume(connection)
                except Lost as error:
                    cause = str(error)
                if self._draining:
                    return
                self._note(f"consumer of queue {self._queue}: {cause}")
                log.warning("consumer-lost", queue=self._queue, error=cause)
                self._on_loss()
                if loop.time() - since > HEALTHY_AFTER:
                    backoff.reset()
                await backoff.pause()

    async def pause(self) -> None:
        """Have the broker send no more jobs until `resume`; jobs that are here stay ours."""
        await self._retire_current(silence=SHORT_SILENCE)

    async def _retire_current(self, *, silence: float) -> None:
        # A drain waits for a pause in progress, because jobs may arrive until that has ended.
        async with self._retirement:
            current, self._current = self._current, None
            if current:
                self._retired.append(current)
                await current.retire(silence=silence)
                self._retired = [each for each in self._retired if not each.is_over]

    async def resume(self, prefetch: int) -> None:
        """Consume anew with `prefetch` beside the jobs that are still here; 0 means not at all."""
        self._prefetch = prefetch
        # A connection that was opened since the pause is consuming already.
        await self._retire_current(silence=SHORT_SILENCE)
        connection, lost = self._connection, self._lost
        if not prefetch or self._is_shut or not connection or not lost or lost.done():
            return
        try:
            await self._subscribe(connection, lost, prefetch=prefetch)
        except Lost as error:
            resolve(lost, str(error))

    async def cordon(self) -> None:
        """Request no more jobs until `uncordon`, even after lost connections; return once none can
        arrive any more."""
        self._is_cordoned = True
        await self._retire_current(silence=LONG_SILENCE)

    async def uncordon(self, prefetch: int) -> None:
        """Request jobs again, at most `prefetch` at a time beside those that are still here."""
        self._is_cordoned = False
        await self.resume(prefetch)

    async def drain(self) -> None:
        """Request no more jobs; return once none can arrive any more."""
        self._draining = True
        await self._retire_current(silence=LONG_SILENCE)

    async def close(self) -> None:
        """Close the connection; unacked jobs return to their queue."""
        self._draining = True
        for each in self._subscriptions():
            await each.leave()
        if self._connection:
            await self._connection.close()

    async def _consume(self, connection: Connection) -> str:
        """Consume on new channels until one is lost; return the cause."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost
        # Without a consumer, as while cordoned, nothing else would report the end.
        ending = asyncio.ensure_future(_tell_end(connection, lost))
        try:
            # A new connection has none of the jobs for which a pause had waited.
            self._prefetch = self._room(self._prefetch or self._least)
            if self._prefetch:
                await self._subscribe(connection, lost, prefetch=self._prefetch)
            else:
                log.info("consumer-started", queue=self._queue, prefetch=0)
            self._is_consuming = True
            self.trouble = ""
            self._on_consuming()
            return await lost
        finally:
            ending.cancel()
            self._is_consuming = False
            # From here on, this loss cannot affect the channels that follow.
            resolve(lost, "the channel is given up")
            self._void(lost.result())

    async def _subscribe(
        self, connection: Connection, lost: asyncio.Future[str], *, prefetch: int
    ) -> None:
        if self._is_shut:
            return
        channel = await connection.channel()
        # Conditions may have changed meanwhile. For example, another call may have been faster, and
        # a second consumer that is never retired would go on taking jobs.
        if lost.done() or self._is_shut or self._current:
            channel.close()
            return

        def lose(cause: str) -> None:
            if not lost.done():
                lost.set_result(cause)
                self._void(cause)

        current = Subscription(
            connection,
            channel,
            prefetch=prefetch,
            is_quorum=self._is_quorum,
            parks=self._is_quorum and not connection.features.cancelled_are_freed,
            on_deliveries=self._listener.on_deliveries,
            on_lost=lose,
        )
        self._current = current
        arguments: dict[str, Any] = {}
        if connection.features.ack_timeout_by_consumer and self._has_ack_timeout:
            arguments["x-consumer-timeout"] = round(self._ack_timeout * 1000)
        started = current.start(self._queue, arguments=arguments)
        lost.add_done_callback(lambda _: resolve(started, None))
        try:
            await connection.answer(started, of=channel)
        except Lost as error:
            # On 4.3, a classic queue has no ack timeout, and refuses the argument.
            self._has_ack_timeout = "x-consumer-timeout" not in str(error)
            raise
        if lost.done():
            raise Lost(lost.result())
        log.info("consumer-started", queue=self._queue, prefetch=prefetch)

    @property
    def _is_shut(self) -> bool:
        return self._draining or self._is_cordoned

    def _subscriptions(self) -> list[Subscription]:
        return [*self._retired, *([self._current] if self._current else [])]

    def _void(self, cause: str) -> None:
        subscriptions, self._retired, self._current = self._subscriptions(), [], None
        if gone := [delivery for each in subscriptions for delivery in each.void(cause)]:
            self._listener.on_void(gone)


async def _tell_end(connection: Connection, lost: asyncio.Future[str]) -> None:
    resolve(lost, await connection.closed())
