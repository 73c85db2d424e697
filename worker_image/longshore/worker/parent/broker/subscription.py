"""One consumer on a channel of its own, from its first delivery until the last is settled."""

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
"""Seconds without a delivery after which none is taken to be under way."""

_MAX_WAITS = 10

MOST_AT_ONCE = 16
"""Acks and nacks of one moment with which a channel may be closed at once. RabbitMQ has at most 32
under way to a quorum queue, and drops what waits behind them when the channel closes: the jobs come
back charged (4.3.6)."""

ACK_DELAY = 0.002
"""Seconds that an ack may wait for others. One may stand for many: with jobs that do nothing for
some 40, and each of them costs a quorum queue a quarter less."""

LINGER = 0.5
"""Seconds for more than that to be passed on."""


class Delivery:
    """A job that the broker has given us, until it takes it back.

    Its properties are decoded when they are asked for: of most jobs `plain` has read all that is
    needed.
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
        """The properties' bytes; empty where pika has decoded them."""

        self.body = body
        self.is_redelivered = is_redelivered
        self.void: str | None = None
        """Why the broker has taken it back; None while it is ours."""

        self._properties = properties
        self._fault: str | None = None

    def make_void(self, cause: str) -> None:
        """The broker has taken it back."""
        self.void = cause

    @property
    def properties(self) -> Properties:
        """AMQP properties, as far as they can be read."""
        return self._decoded()

    @property
    def fault(self) -> str | None:
        """What cannot be read of its properties."""
        self._decoded()
        return self._fault

    @property
    def is_counted(self) -> bool:
        """Whether the broker has counted failed deliveries of it.

        Quorum queues write their count over what the producer sent along, but only when they
        deliver again; classic queues never do.
        """
        return self.is_redelivered and self.subscription.is_quorum

    @property
    def original(self) -> Mapping[str, Any]:
        """AMQP properties as they came."""
        original: dict[str, Any] = vars(self.properties)
        return original

    def _decoded(self) -> Properties:
        if self._properties is None:
            self._properties, self._fault = properties_in(self.header)
        return self._properties


class Subscription:
    """Takes deliveries, acks those that are settled; `on_lost` hears why it ended too early.

    Prefetch is a consumer's for life: RabbitMQ applies a new one to new consumers only.
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
        # Classic queues count no deliveries.
        self.nack_is_free = connection.features.nack_is_free or not is_quorum
        self.is_current = True
        """Its jobs count against the prefetch that is in force: it is neither retired nor lost."""

        self._prefetch = prefetch
        self._parks = parks
        """Whether jobs that are here once it is retired need `_park`."""

        self._on_deliveries = on_deliveries
        self._on_lost = on_lost
        self._settlements: Settlements[Delivery] = Settlements()
        self._acking: asyncio.Handle | None = None
        self._is_delayed = False
        """Acks are sent after `ACK_DELAY`, not in this turn of the loop."""

        self._arrived = 0
        self._queue = self._tag = ""
        self._is_holding = False
        """Acks wait: each would have the broker send more."""

        self._is_retired = False
        self._is_closing = False
        self._is_leaving = False
        """The connection is about to be closed."""

        self._news = asyncio.Event()
        """Acks wait while it is parked, or its channel ends."""

        self._parking: asyncio.Task[None] | None = None
        self.settled_at = 0.0
        """On the loop's clock: not before, all that was sent has reached the queue."""

        channel.on_end(lambda end: self._on_end(end.cause))

    @property
    def is_over(self) -> bool:
        """Whether its channel is closed, or about to be."""
        return self._is_closing

    def start(self, queue: str, *, arguments: Mapping[str, Any]) -> asyncio.Future[None]:
        """Have jobs of `queue` sent; resolved with the broker's answer, if one comes.

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

        `may_wait` while there is enough to do without another delivery: then the moment is
        `ACK_DELAY`.
        """
        if delivery.void is None:
            self._settlements.settle(delivery.tag)
            self._send_soon(may_wait=may_wait and not self._is_retired)

    def give_back(self, delivery: Delivery) -> None:
        """Return a delivery to the head of its queue, uncharged where nack is free."""
        if delivery.void is None:
            self._settlements.give_back(delivery.tag)
            self._send_soon()

    async def retire(self, *, silence: float) -> None:
        """Take no more deliveries; the channel closes with the last of those that are here.

        Return when none can come any more; `silence` seconds without one are proof enough.
        """
        self.is_current = False
        await self._settle_down(silence)
        await self._cancel()
        self._is_retired = True
        self.flush()
        if self._parks and self._settlements.unacked:
            self._parking = asyncio.create_task(self._park())

    async def leave(self) -> None:
        """Send what acks there are, before the connection is closed."""
        self._is_leaving = True
        if self._parking:
            self._news.set()
            await asyncio.wait({self._parking}, timeout=CANCEL_TIMEOUT)
        self.flush()
        await self._until_passed_on()

    def flush(self) -> None:
        """Send what acks there are now."""
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

        A job of a cancelled consumer whose node ends may be nobody's for ever
        (`Features.cancelled_are_freed`). A consumer by the same tag takes over what the cancelled
        one holds, and as its prefetch is just as much, it gets nothing. Each ack would make room:
        acks wait until it is cancelled again.
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
        """The broker has taken everything back: close the channel; the deliveries that were ours.

        A channel left open after a basic.cancel of the broker's would keep a zombie consumer that
        swallows jobs (4.3.6).
        """
        self.is_current = False
        gone = self._settlements.clear()
        for delivery in gone:
            delivery.make_void(cause)
        self._close()
        return gone

    async def _settle_down(self, silence: float) -> None:
        """Hold acks until no delivery is under way.

        What a quorum queue has assigned to a consumer whose cancellation overtakes it is neither
        delivered nor taken back before the channel closes, and then it counts as a failed delivery
        (4.0.5, 4.3.6). With acks held the broker stops when the prefetch is used up.
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
            return  # later, or about to be void
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
            return  # the channel's number may be another's by now
        self._is_closing = True
        self._connection.leave(self._channel)
        self._channel.close()

    def _on_end(self, cause: str) -> None:
        if not self._is_closing:
            self._on_lost(cause)
