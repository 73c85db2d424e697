"""Stand-ins for one connection and its channels, for races that no broker can be made to lose."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pika.exceptions

from longshore.amqp.channel import Channel
from longshore.amqp.errors import End, Lost


class FakeChannel:
    connection = SimpleNamespace(params=SimpleNamespace(frame_max=131_072))

    def __init__(self, number: int) -> None:
        self.channel_number = number
        self.is_open = True
        self.is_broken = False
        """Has closed, and nobody was told yet."""

        self.consumers: list[str] = []
        self.end: Callable[[Any, BaseException], None]

    def add_on_close_callback(self, callback: Callable[[Any, BaseException], None]) -> None:
        self.end = callback

    def add_on_cancel_callback(self, callback: Callable[[Any], None]) -> None:
        pass

    add_on_return_callback = add_on_cancel_callback

    def basic_qos(self, *, prefetch_count: int) -> None:
        self._must_be_open()

    def basic_ack(self, tag: int, multiple: bool) -> None:
        self._must_be_open()

    def basic_consume(self, queue: str, *_: Any, callback: Callable[[Any], None], **__: Any) -> str:
        self._must_be_open()
        self.consumers.append(queue)
        asyncio.get_running_loop().call_soon(callback, None)
        return "tag"

    def basic_cancel(self, tag: str, callback: Callable[[Any], None]) -> None:
        self.consumers.clear()
        asyncio.get_running_loop().call_soon(callback, None)

    def basic_nack(self, tag: int, multiple: bool = False, *, requeue: bool) -> None:
        pass

    def confirm_delivery(self, _: Any, *, callback: Callable[[Any], None]) -> None:
        self._must_be_open()
        asyncio.get_running_loop().call_soon(callback, None)

    def basic_publish(self, *_: Any, **__: Any) -> None:
        self._must_be_open()

    def close(self) -> None:
        self.is_open = False

    def _must_be_open(self) -> None:
        if self.is_broken:
            raise pika.exceptions.ChannelWrongStateError("Channel is closed.")


class FakeConnection:
    """Its channels are opened by hand: `arrive`."""

    is_open = True
    is_blocked = False

    def __init__(self) -> None:
        self.features = SimpleNamespace(
            ack_timeout_by_consumer=False, nack_is_free=True, cancelled_are_freed=True
        )
        self.channels: list[FakeChannel] = []
        self.listeners: dict[int, Any] = {}
        self._asked: asyncio.Queue[asyncio.Future[FakeChannel]] = asyncio.Queue()
        self.failures: list[Exception] = []

    async def channel(self) -> Channel:
        asked: asyncio.Future[FakeChannel] = asyncio.get_running_loop().create_future()
        self._asked.put_nowait(asked)
        return Channel(self, await asked)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)

    async def arrive(self, *, is_broken: bool = False) -> FakeChannel:
        """Open the channel that was asked for first."""
        asked = await self._asked.get()
        channel = FakeChannel(len(self.channels) + 1)
        channel.is_broken = is_broken
        self.channels.append(channel)
        asked.set_result(channel)
        await asyncio.sleep(0.01)
        return channel

    async def answer(self, waiting: asyncio.Future[Any], *, of: Channel) -> Any:
        def give_up(_: End) -> None:
            waiting.cancel()

        of.on_end(give_up)
        await asyncio.wait({waiting}, timeout=0.1)
        if waiting.done() and not waiting.cancelled():
            return waiting.result()
        raise Lost(of.end.cause if of.end else "no answer")

    def listen(self, channel: Channel, listener: Any) -> None:
        self.listeners[channel.number] = listener

    def leave(self, channel: Channel) -> None:
        del self.listeners[channel.number]

    async def closed(self) -> str:
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        pass
