"""A broker of bytes: says what RabbitMQ says, as far as it gets, and then whatever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pika
from pika import frame, spec


class Ending(StrEnum):
    """What becomes of a connection whose answers have come to their end."""

    STALL = "stall"
    HANG_UP = "hang up"
    RESET = "reset"
    GARBAGE = "garbage"
    CLOSE = "close"
    """A well-formed `connection.close`, in the middle of whatever was said."""


@dataclass(frozen=True)
class Fault:
    """After `at` bytes to the client nothing comes any more but `ending`."""

    at: int
    ending: Ending
    garbage: bytes = b""


class FakeBroker:
    """Listens on loopback. `fault` gives each new connection its fault, None for a good one."""

    def __init__(self, *, delivers: bool = True) -> None:
        self.fault: Callable[[], Fault | None] = lambda: None
        self.port = 0
        self.said = 0
        """Bytes that the latest connection without a fault was told so far."""

        self.patience: float | None = None
        """Seconds after which a connection with a fault is closed for good; None is never."""

        self.poison: dict[bytes, int] = {}
        """Bodies over which the connection is closed, with the reply code."""

        self.delivers = delivers
        self.connections = 0
        """How many were made so far."""

        self._talks: set[asyncio.Task[None]] = set()

    @property
    def parameters(self) -> pika.ConnectionParameters:
        return pika.ConnectionParameters(
            "127.0.0.1", self.port, heartbeat=60, connection_attempts=1, socket_timeout=5
        )

    @contextlib.asynccontextmanager
    async def serving(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeBroker]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk
        self._talks.add(talk)
        self.connections += 1
        try:
            await self._talk(reader, writer, self.fault())
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._talks.discard(talk)
            writer.transport.abort()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> None:
        said = 0
        tags: dict[int, Iterator[int]] = {}
        """Of deliveries and confirms, by channel."""

        heard = b""
        while data := await reader.read(65_536):
            heard += data
            while heard:
                if heard.startswith(b"AMQP"):
                    if len(heard) < 8:
                        break
                    heard = heard[8:]
                    answers = [frame.Method(0, _START)]
                else:
                    size, heard_frame = frame.decode_frame(heard)
                    if heard_frame is None:
                        break
                    heard = heard[size:]
                    answers = list(self._answers(heard_frame, tags))
                told = b"".join(each.marshal() for each in answers)
                if fault and said + len(told) >= fault.at:
                    writer.write(told[: fault.at - said])
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(_end(reader, writer, fault), self.patience)
                    return
                writer.write(told)
                said += len(told)
                if not fault:
                    self.said = said

    def _answers(self, heard: Any, tags: dict[int, Iterator[int]]) -> Iterator[Any]:
        method = getattr(heard, "method", None)
        number = heard.channel_number
        simple = {
            spec.Connection.Open: spec.Connection.OpenOk(),
            spec.Connection.Close: spec.Connection.CloseOk(),
            spec.Channel.Open: spec.Channel.OpenOk(),
            spec.Channel.Close: spec.Channel.CloseOk(),
            spec.Basic.Qos: spec.Basic.QosOk(),
            spec.Confirm.Select: spec.Confirm.SelectOk(),
        }
        if type(method) in simple:
            yield frame.Method(number, simple[type(method)])
        if isinstance(method, spec.Confirm.Select | spec.Basic.Consume):
            tags[number] = itertools.count(1)
        match method:
            case spec.Connection.StartOk():
                yield frame.Method(0, spec.Connection.Tune(2047, 131_072, 60))
            case spec.Basic.Consume():
                yield frame.Method(number, spec.Basic.ConsumeOk(method.consumer_tag))
                if self.delivers and not method.no_ack:
                    for _ in range(3):
                        yield from delivery(number, method.consumer_tag, next(tags[number]))
            case spec.Basic.Cancel():
                yield frame.Method(number, spec.Basic.CancelOk(method.consumer_tag))
            case spec.Basic.Publish() if method.mandatory and not self.poison:
                yield frame.Method(number, spec.Basic.Ack(next(tags[number])))
        if self.poison and isinstance(heard, frame.Body) and number in tags:
            tag = next(tags[number])
            if code := self.poison.get(heard.fragment):
                tags.clear()  # nothing is said any more
                yield frame.Method(0, spec.Connection.Close(code, "a test", 60, 40))
            else:
                yield frame.Method(number, spec.Basic.Ack(tag))


def delivery(channel: int, consumer: str, tag: int) -> list[Any]:
    """Frames of one job."""
    properties = pika.BasicProperties(type="work", content_type="application/json")
    return [
        frame.Method(channel, spec.Basic.Deliver(consumer, tag, False, "", "q")),
        frame.Header(channel, 2, properties),
        frame.Body(channel, b"{}"),
    ]


async def _end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
    match fault.ending:
        case Ending.RESET:
            writer.transport.abort()
            return
        case Ending.GARBAGE:
            writer.write(fault.garbage)
        case Ending.CLOSE:
            close = spec.Connection.Close(320, "CONNECTION_FORCED - a test", 0, 0)
            writer.write(frame.Method(0, close).marshal())
    if fault.ending is Ending.HANG_UP:
        if not writer.can_write_eof():  # with TLS it is all or nothing
            return
        writer.write_eof()
    while await reader.read(65_536):  # until the client gives it up
        pass


_ABOUT = {
    "version": "4.3.6",
    "capabilities": {"publisher_confirms": True, "basic.nack": True, "connection.blocked": True},
}
_START = spec.Connection.Start(0, 9, _ABOUT, b"PLAIN AMQPLAIN", b"en_US")
