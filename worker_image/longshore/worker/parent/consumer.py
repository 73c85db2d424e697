"""The consuming side: deliveries in, acks out, and one path for every way to lose a delivery."""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pika
import pika.exceptions
from pika.channel import Channel

from longshore.contract.features import Features
from longshore.worker.parent.acks import Ledger
from longshore.worker.parent.connection import Backoff, Connection, Lost, connect, resolve, words
from longshore.worker.parent.inbound import Arrival
from longshore.worker.parent.logs import Log

HEALTHY_AFTER = 5.0
"""Seconds of consuming after which the next loss is a new one, retried without much delay."""

_SILENCE = 0.05
"""Seconds without a delivery after which none is taken to be under way."""

_MAX_WAITS = 20

log = Log("longshore.consumer")


@dataclass(slots=True, eq=False)
class Delivery:
    """A job that the broker has given us, until it takes it back."""

    channel: Channel
    tag: int
    properties: pika.BasicProperties
    body: bytes
    fault: str | None = None
    """What cannot be read of its properties."""

    void: str | None = None
    """Why the broker has taken it back; None while it is ours."""

    @property
    def original(self) -> Mapping[str, Any]:
        """AMQP properties as they came."""
        original: dict[str, Any] = vars(self.properties)
        return original


class Consumer:
    """Consumes `queue` over a connection of its own, again and again, until drained.

    406, a basic.cancel by the broker and a lost connection are one path: all deliveries are void,
    the channel is closed and a new one opened. A channel left open after a basic.cancel would keep
    a zombie consumer that swallows jobs (4.3.6).
    """

    def __init__(
        self,
        parameters: pika.connection.Parameters,
        *,
        queue: str,
        prefetch: int,
        ack_timeout: float,
    ) -> None:
        self.on_deliveries: Callable[[list[Delivery]], None]
        self.on_void: Callable[[list[Delivery]], None]
        self.on_loss: Callable[[], None] = lambda: None
        self.features: Features | None = None
        self._parameters = parameters
        self._queue = queue
        self._prefetch = prefetch
        self._ack_timeout = ack_timeout
        self._ledger: Ledger[Delivery] = Ledger()
        self._acking: asyncio.Handle | None = None
        self._is_holding = False
        """Acks wait: each would have the broker send more."""

        self._arrived = 0
        self._channel: Channel | None = None
        self._connection: Connection | None = None
        self._tag = ""
        self._cancelling: asyncio.Future[None] | None = None
        self._has_ack_timeout = True
        self._is_consuming = False
        self._draining = False

    @property
    def is_consuming(self) -> bool:
        """Whether the broker sends us jobs."""
        return self._is_consuming and not self._draining

    @property
    def is_connected(self) -> bool:
        """Whether acks reach the broker."""
        return self._channel is not None and bool(self._channel.is_open)

    async def run(self) -> None:
        """Consume until cancelled; after `drain`, until the connection ends."""
        backoff = Backoff()
        while not self._draining:
            self._connection = connection = await connect(self._parameters, purpose="consume")
            self.features = connection.features
            while connection.is_open and not self._draining:
                since = time.monotonic()
                try:
                    cause = await self._consume(connection)
                except Lost as error:
                    cause = str(error)
                if self._draining:
                    return
                log.warning("consumer-lost", queue=self._queue, cause=cause)
                self.on_loss()
                if time.monotonic() - since > HEALTHY_AFTER:
                    backoff.reset()
                await backoff.pause()

    def ack(self, delivery: Delivery) -> None:
        """Settle a delivery that is not void, together with others of the same moment."""
        if self._is_ours(delivery):
            self._ledger.settle(delivery.tag)
            if self._acking is None:
                self._acking = asyncio.get_running_loop().call_soon(self._send_acks)

    def give_back(self, delivery: Delivery) -> None:
        """Return a delivery to the head of its queue, uncharged where nack is free."""
        if self._is_ours(delivery):
            self._ledger.forget(delivery.tag)
            delivery.channel.basic_nack(delivery.tag, requeue=True)

    async def drain(self) -> None:
        """Ask for no more jobs; return when none can come any more."""
        self._draining = True
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        await self._settle_down()
        # pika rejects what still arrives after this, and a reject counts as a failed delivery.
        channel.basic_reject = functools.partial(channel.basic_nack, requeue=True)
        self._cancelling = asyncio.get_running_loop().create_future()
        channel.basic_cancel(self._tag, lambda _: self._end_cancelling())
        await asyncio.wait({self._cancelling}, timeout=5.0)
        self._is_holding = False
        self._send_acks()

    async def _settle_down(self) -> None:
        """Hold acks until no delivery is under way.

        What a quorum queue has assigned to a consumer whose cancellation overtakes it, 4.0 neither
        delivers nor takes back before the channel closes; and then it counts as a failed delivery.
        """
        self._is_holding = True
        for _ in range(_MAX_WAITS):
            arrived = self._arrived
            await asyncio.sleep(_SILENCE)
            if self._arrived == arrived:
                return

    async def close(self) -> None:
        """End the connection; what is not acked goes back to its queue."""
        self._draining = True
        self._is_holding = False
        self._send_acks()
        if self._connection:
            await self._connection.close()

    async def _consume(self, connection: Connection) -> str:
        """Consume on a new channel until it is lost; the cause."""
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()
        channel = await connection.channel()

        def lose(cause: str) -> None:
            if not lost.done():
                lost.set_result(cause)
                self._void(cause)

        channel.add_on_close_callback(lambda _, error: lose(words(error)))
        channel.add_on_cancel_callback(lambda _: lose("the broker has cancelled the consumer"))
        self._channel = channel
        connection.listen(channel, functools.partial(self._on_arrivals, channel))
        try:
            await self._subscribe(connection, channel, lost)
            self._is_consuming = True
            log.info("consuming", queue=self._queue, prefetch=self._prefetch)
            return await lost
        finally:
            self._is_consuming = False
            connection.leave()
            lose("the channel is given up")
            if channel.is_open:
                channel.close()

    async def _subscribe(
        self, connection: Connection, channel: Channel, lost: asyncio.Future[str]
    ) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        arguments: dict[str, Any] = {}
        if connection.features.ack_timeout_by_consumer and self._has_ack_timeout:
            arguments["x-consumer-timeout"] = round(self._ack_timeout * 1000)
        channel.basic_qos(prefetch_count=self._prefetch)
        self._tag = channel.basic_consume(
            self._queue,
            self._on_message,
            arguments=arguments,
            callback=lambda _: resolve(ready, None),
        )
        lost.add_done_callback(lambda _: resolve(ready, None))
        await connection.answer(ready)
        if lost.done():
            # A classic queue has no ack timeout on 4.3, and refuses to be told one.
            self._has_ack_timeout = "x-consumer-timeout" not in lost.result()
            raise Lost(lost.result())

    def _on_message(
        self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes
    ) -> None:
        self._on_arrivals(channel, [Arrival(method.delivery_tag, properties, body)])

    def _on_arrivals(self, channel: Channel, arrivals: list[Arrival]) -> None:
        self._arrived += len(arrivals)
        deliveries = []
        for each in arrivals:
            delivery = Delivery(channel, each.tag, each.properties, each.body, each.fault)
            self._ledger.add(each.tag, delivery)
            deliveries.append(delivery)
        self.on_deliveries(deliveries)

    def _is_ours(self, delivery: Delivery) -> bool:
        return delivery.void is None and delivery.channel is self._channel

    def _send_acks(self) -> None:
        self._acking = None
        channel = self._channel
        if channel is None or not channel.is_open or self._is_holding:
            return  # about to be void, or sent later
        for tag, multiple in self._ledger.acks():
            channel.basic_ack(tag, multiple)

    def _void(self, cause: str) -> None:
        self._channel = None
        self._end_cancelling()
        gone = self._ledger.clear()
        for delivery in gone:
            delivery.void = cause
        if gone:
            self.on_void(gone)

    def _end_cancelling(self) -> None:
        if self._cancelling:
            resolve(self._cancelling, None)
