"""A consumer on a channel of its own, from its first delivery until the last is settled."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from longshore.amqp.channel import Channel, resolve
from longshore.amqp.connection import Connection
from longshore.amqp.errors import Lost
from longshore.amqp.inbound import Arrival, properties_in
from longshore.amqp.publication import Properties
from longshore.worker.parent.broker.settlements import Settlements

CANCEL_TIMEOUT = 5.0
"""Seconds for the answer to a cancellation."""

LONG_SILENCE = 0.3
SHORT_SILENCE = 0.05
"""Seconds without a delivery after which none is assumed to be in flight."""

_MAX_WAITS = 10

MOST_AT_ONCE = 16
"""Maximum number of acks and nacks sent together with which a channel may be closed at once.
RabbitMQ passes at most 32 to a quorum queue at a time, and drops those that wait when the channel
closes. Their jobs return charged (4.3.6)."""

ACK_DELAY = 0.002
"""Seconds that an ack may wait for others, so that one ack settles many deliveries: some 40 if jobs
do nothing. Each of these then costs a quorum queue a quarter less."""

LINGER = 0.5
"""Seconds for RabbitMQ to pass on more than `MOST_AT_ONCE`."""


class Delivery:
    """A job that the broker has delivered, until the broker takes it back.

    Its properties are decoded only on demand, because for most jobs `plain` has read everything
    that is needed.
    """

    __slots__ = (
        *("_fault", "_properties", "body", "header", "is_redelivered"),
        *("subscription", "tag", "void"),
    )

    def __init__(
        self,
        subscription: "Subscription",
        tag: int,
        header: bytes,
        body: bytes,
        is_redelivered: bool = False,
        properties: Properties | None = None,
    ) -> None:
        self.subscription = subscription
        self.tag = tag
        self.header = header
        """The properties' bytes; empty if pika has decoded them."""

        self.body = body
        self.is_redelivered = is_redelivered
        self.void: str | None = None
        """Why the broker has taken it back; None while it is ours."""

        self._properties = properties
        self._fault: str | None = None

    def make_void(self, cause: str) -> None:
        """Note that the broker has taken the delivery back."""
        self.void = cause

    @property
    def properties(self) -> Properties:
        """AMQP properties, as far as they can be read."""
        return self._decoded()

    @property
    def fault(self) -> str | None:
        """What cannot be read of its properties; None if all can."""
        self._decoded()
        return self._fault

    @property
    def is_counted(self) -> bool:
        """Whether the broker has counted the job's failed deliveries.

        A quorum queue writes its count over what the producer sent, but only when it delivers
        again; a classic queue never does.
        """
        return self.is_redelivered and self.subscription.is_quorum

    @property
    def original(self) -> Mapping[str, Any]:
        """AMQP properties, unchanged."""
        original: dict[str, Any] = vars(self.properties)
        return original

    def _decoded(self) -> Properties:
        if self._properties is None:
            self._properties, self._fault = properties_in(self.header)
        return self._properties


class Subscription:
    """Takes deliveries and acks settled ones; `on_lost` is called with the cause of an early end.

    A consumer's prefetch is fixed: RabbitMQ applies a new prefetch to new consumers only.
    """

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        *,
        prefetch: int,
        is_quorum: bool = True,
        parks: bool = False,
        on_deliveries: Callable[[list[Delivery]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._channel = channel
        self.is_quorum = is_quorum
        # Classic queues do not count deliveries.
        self.nack_is_free = connection.features.nack_is_free or not is_quorum
        self.is_current = True
        """Whether its jobs count against the current prefetch: it is neither retired nor lost."""

        self._prefetch = prefetch
        self._parks = parks
        """Whether jobs that are still here when it is retired require `_park`."""

        self._on_deliveries = on_deliveries
        self._on_lost = on_lost
        self._settlements: Settlements[Delivery] = Settlements()
        self._acking: asyncio.Handle | None = None
        self._is_delayed = False
        """Whether acks are sent after `ACK_DELAY`, not in this turn of the loop."""

        self._arrived = 0
        self._queue = self._tag = ""
        self._is_holding = False
        """Whether acks wait, because each would make the broker send more jobs."""

        self._is_retired = False
        self._is_closing = False
        self._is_leaving = False
        """Whether the connection is about to be closed."""

        self._news = asyncio.Event()
        """Set when acks wait while it is parked, or when its channel ends."""

        self._parking: asyncio.Task[None] | None = None
        self.settled_at = 0.0
        """The time, on the loop's clock, from which everything sent has reached the queue."""

        channel.on_end(lambda end: self._on_end(end.cause))

    @property
    def is_over(self) -> bool:
        """Whether its channel is closed, or about to be."""
        return self._is_closing

    def start(self, queue: str, *, arguments: Mapping[str, Any]) -> asyncio.Future[None]:
        """Start to consume from `queue`; the future is resolved by the broker's answer, if any.

        Raises Lost.
        """
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection.listen(self._channel, self._on_arrivals)
        self._queue = queue
        self._tag = self._channel.consume(
            queue,
            self._on_message,
            prefetch=self._prefetch,
            arguments=arguments,
            on_started=lambda: resolve(started, None),
            on_cancel=lambda: self._on_end("the broker has cancelled the consumer"),
        )
        return started

    def ack(self, delivery: Delivery, *, may_wait: bool = False) -> None:
        """Settle a delivery that is not void, together with others of the same moment.

        With `may_wait`, that moment is `ACK_DELAY` long. It is set while there is enough to do
        without another delivery.
        """
        if delivery.void is None:
            self._settlements.settle(delivery.tag)
            self._send_soon(may_wait=may_wait and not self._is_retired)

    def give_back(self, delivery: Delivery) -> None:
        """Return a delivery to the head of its queue, uncharged if nack is free."""
        if delivery.void is None:
            self._settlements.give_back(delivery.tag)
            self._send_soon()

    async def retire(self, *, silence: float) -> None:
        """Take no more deliveries; close the channel once all those that are here are settled.

        Returns once no delivery can arrive any more, which `silence` seconds without one prove.
        """
        self.is_current = False
        await self._settle_down(silence)
        await self._cancel()
        self._is_retired = True
        self.flush()
        if self._parks and self._settlements.unacked:
            self._parking = asyncio.create_task(self._park())

    async def leave(self) -> None:
        """Send all pending acks, before the connection is closed."""
        self._is_leaving = True
        if self._parking:
            self._news.set()
            await asyncio.wait({self._parking}, timeout=CANCEL_TIMEOUT)
        self.flush()
        await self._until_passed_on()

    def flush(self) -> None:
        """Send all pending acks now."""
        self._is_holding = False
        self._send_acks()

    async def _cancel(self) -> None:
        if self._channel.is_open:
            cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._channel.on_end(lambda _: resolve(cancelled, None))
            self._channel.cancel(self._tag, on_cancelled=lambda: resolve(cancelled, None))
            await asyncio.wait({cancelled}, timeout=CANCEL_TIMEOUT)

    async def _park(self) -> None:
        """Keep a consumer that has no room, until the last delivery is settled.

        If the node of a cancelled consumer ends, its jobs may never be delivered again
        (`Features.cancelled_are_freed`). A new consumer under the same tag takes over the jobs of
        the cancelled one and gets no others, because its prefetch is equal to their number. Each
        ack would make room, so acks wait until the consumer is cancelled again.
        """
        self._channel.on_end(lambda _: self._news.set())
        await self._until_passed_on()
        while self._parks and self._settlements.unacked and not self._is_leaving:
            self._news.clear()
            self._is_holding = True
            try:
                await self._consume_again()
            except Lost:
                self._parks = False
            else:
                await self._news.wait()
            await self._cancel()
            self.flush()
            await self._until_passed_on()

    async def _consume_again(self) -> None:
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._channel.consume_again(
            self._queue,
            self._on_message,
            tag=self._tag,
            on_started=lambda: resolve(started, None),
            prefetch=self._settlements.unacked,
        )
        await self._connection.answer(started, of=self._channel)

    async def _until_passed_on(self) -> None:
        """Wait until all acks have reached the queue."""
        await asyncio.sleep(self.settled_at - asyncio.get_running_loop().time())

    def void(self, cause: str) -> list[Delivery]:
        """Close the channel, because the broker has taken everything back; return what was ours.

        If a channel stays open after the broker's basic.cancel, a zombie consumer remains that
        swallows jobs (4.3.6).
        """
        self.is_current = False
        gone = self._settlements.clear()
        for delivery in gone:
            delivery.make_void(cause)
        self._close()
        return gone

    async def _settle_down(self, silence: float) -> None:
        """Hold acks until no delivery is in flight.

        If a cancellation overtakes a delivery that a quorum queue has assigned to the consumer, the
        job is neither delivered nor taken back before the channel closes, and that counts as a
        failed delivery (4.0.5, 4.3.6). While acks are held, the broker stops at the prefetch.
        """
        self._is_holding = True
        for _ in range(_MAX_WAITS):
            arrived = self._arrived
            if self._settlements.unacked >= self._prefetch:
                return
            await asyncio.sleep(silence)
            if self._arrived == arrived:
                return

    def _on_message(
        self, _channel: Channel, method: Any, properties: Properties, body: bytes
    ) -> None:
        delivery = Delivery(
            self, method.delivery_tag, b"", body, method.redelivered, properties=properties
        )
        self._take([delivery])

    def _on_arrivals(self, arrivals: list[Arrival]) -> None:
        self._take([Delivery(self, *arrival) for arrival in arrivals])

    def _take(self, deliveries: list[Delivery]) -> None:
        self._arrived += len(deliveries)
        for delivery in deliveries:
            self._settlements.add(delivery.tag, delivery)
        self._on_deliveries(deliveries)

    def _send_soon(self, *, may_wait: bool = False) -> None:
        if self._acking:
            if may_wait or not self._is_delayed:
                return
            self._acking.cancel()
        loop = asyncio.get_running_loop()
        self._is_delayed = may_wait
        if may_wait:
            self._acking = loop.call_later(ACK_DELAY, self._send_acks)
        else:
            self._acking = loop.call_soon(self._send_acks)

    def _send_acks(self) -> None:
        if self._acking:
            self._acking.cancel()
        self._acking = None
        if self._is_holding or not self._channel.is_open:
            self._news.set()
            return  # sent later, or about to be void
        acks, nacks = self._settlements.acks(), self._settlements.nacks()
        self._channel.send_acks(acks, nacks)
        if len(acks) + len(nacks) > MOST_AT_ONCE:
            self.settled_at = asyncio.get_running_loop().time() + LINGER
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._is_retired and not self._settlements.unacked:
            loop = asyncio.get_running_loop()
            if (left := self.settled_at - loop.time()) > 0:
                loop.call_later(left, self._close)
            else:
                self._close()

    def _close(self) -> None:
        if self._is_closing:
            return  # the channel's number may already be in use again
        self._is_closing = True
        self._connection.leave(self._channel)
        self._channel.close()

    def _on_end(self, cause: str) -> None:
        if not self._is_closing:
            self._on_lost(cause)
