"""Everything of pika that is not its public API, and a way without it.

This saves time, or keeps one malformed message from ending the connection. It fits the versions of
pika whose internals are known; with any other version, pika's public API does all the work.

- Deliveries of one channel are taken out of the stream before pika sees them (`listen`).
- Properties that pika cannot decode are read as far as possible.
- Output is sent at once, and acks in one piece. pika keeps output until the event loop reports that
  the socket is writable, which takes two changes of an epoll and another turn of the loop.
- Passive declares are sent together (`declare_together`).
- Deliveries after a cancellation are returned without a charge (`return_when_cancelled`).
"""

import contextlib
import functools
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.frame import Header
from pika.spec import FRAME_MAX_SIZE, Queue

from longshore.amqp.inbound import (
    FRAME,
    FRAME_EDGES,
    FRAME_END,
    HEADER,
    LEAST_HEADER,
    LONG,
    METHOD,
    Arrival,
    Assembly,
    Listener,
    Nonsense,
    Tags,
    properties_in,
)

PIKA_SERIES = "1.4."
"""Versions of pika whose internals are known here."""


def is_known(pika_version: str, connection: type[Any] = AsyncioConnection) -> bool:
    """Return whether this module fits the given version of pika."""
    needed = (
        "_on_data_available",
        "_read_frame",
        "_adapter_emit_data",
        "_output_marshaled_frames",
    )
    return pika_version.startswith(PIKA_SERIES) and all(hasattr(connection, n) for n in needed)


def connection_class(pika_version: str = pika.__version__) -> type[AsyncioConnection]:
    """Return the class to open connections with: ours if it fits, otherwise pika's own."""
    return DirectConnection if is_known(pika_version) else AsyncioConnection


def listen(connection: Any, *, channel: int, listener: Listener) -> bool:
    """Have deliveries on `channel` given to `listener`; return False if only pika's way works."""
    if not isinstance(connection, DirectConnection):
        return False
    connection.assemblies[channel] = (Assembly(channel), listener)
    connection.read_much_at_once()
    return True


def leave(connection: Any, *, channel: int) -> None:
    """Ignore a channel that is closing; whatever still arrives on it is dropped."""
    known = getattr(connection, "assemblies", {}).get(channel)
    if known:
        connection.assemblies[channel] = (known[0], _drop)


def send_acks(connection: Any, *, channel: int, acks: Tags, nacks: Tags) -> bool:
    """Send acks, then nacks that requeue, on an open channel; return False if only pika can."""
    if not isinstance(connection, DirectConnection):
        return False
    frames = [
        _SETTLE(METHOD, channel, 13, _ACK, tag, multiple, FRAME_END) for tag, multiple in acks
    ]
    frames += [
        _SETTLE(METHOD, channel, 13, _NACK, tag, multiple | _REQUEUE, FRAME_END)
        for tag, multiple in nacks
    ]
    if frames:
        connection._output_marshaled_frames([b"".join(frames)])
    return True


def declare_together(
    channel: Any, queues: Sequence[str], on_answer: Callable[[Queue.DeclareOk], None]
) -> bool:
    """Send passive declares of `queues` at once; return False if only pika's own way works.

    They are answered in order, until the channel closes because a queue does not exist. pika's own
    way, one after another, takes four times the CPU.
    """
    if not isinstance(channel.connection, DirectConnection):
        return False
    missing = len(queues)

    def answered(frame: Any) -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            channel.callbacks.remove(str(channel.channel_number), Queue.DeclareOk, answered)
        on_answer(frame.method)

    channel.add_callback(answered, [Queue.DeclareOk], one_shot=False)
    for queue in queues:
        channel._send_method(Queue.Declare(queue=queue, passive=True))
    return True


def return_when_cancelled(channel: Any) -> None:
    """Have deliveries that arrive after a cancellation returned to their queue without a charge.

    pika rejects it, and a reject counts as a failed delivery.
    """
    if isinstance(channel.connection, DirectConnection):
        channel.basic_reject = functools.partial(channel.basic_nack, requeue=True)


def close_socket_of(callback: Callable[..., object]) -> None:
    """Close the socket behind a reader or writer of pika.

    Both are methods of the object that holds the socket, so this works at any stage of a
    connection. With another version of pika, the socket is closed when its memory is freed.
    """
    method = getattr(callback, "func", callback)
    held = getattr(getattr(method, "__self__", None), "_sock", None)
    if isinstance(held, socket.socket):
        with contextlib.suppress(OSError):
            held.close()


class DirectConnection(AsyncioConnection):  # type: ignore[misc]  # pika has no types
    """pika's connection, with deliveries of some channels taken out of the stream."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.assemblies: dict[int, tuple[Assembly, Listener]] = {}
        self._sends_at_once = False
        super().__init__(*arguments, **options)

    def read_much_at_once(self) -> None:
        """Have everything that the socket holds read by one call.

        pika reads 4 KiB, about a dozen short jobs, again and again until the kernel has no more.
        """
        transport: Any = getattr(self, "_transport", None)
        # Not with TLS: epoll does not report what OpenSSL has decrypted and buffered.
        if type(transport).__name__ == "_AsyncPlaintextTransport":
            transport._MAX_RECV_BYTES = _READ_SIZE
            transport._MAX_CONSUME_BYTES = 1  # stop after one read; epoll reports if there is more
            self._sends_at_once = True

    def _on_data_available(self, data: bytes) -> None:
        if not self.assemblies:  # until the handshake has ended, there may not even be frames
            super()._on_data_available(data)
            self._check_rest()
            return
        buffer: bytes = self._frame_buffer + data if self._frame_buffer else data
        self._frame_buffer: bytes = b""
        position = 0
        while len(buffer) - position >= FRAME_EDGES:
            _, channel, length = FRAME(buffer, position)
            if channel in self.assemblies:
                assembly, listener = self.assemblies[channel]
                arrivals, end = assembly.take(buffer, position)
                if arrivals:
                    listener(arrivals)
                if end > position:
                    # pika checks heartbeats by the number of bytes received.
                    self.bytes_received += end - position
                    position = end
                    continue
            end = position + FRAME_EDGES + length
            if end > len(buffer):
                break
            super()._on_data_available(buffer[position:end])
            position = end
        self._frame_buffer = buffer[position:]
        self._check_rest()

    def _read_frame(self) -> Any:
        # A header that pika cannot decode would end the connection, whatever its channel.
        buffer: bytes = self._frame_buffer
        if buffer[:1] == _HEADER_KIND and len(buffer) >= FRAME_EDGES + LEAST_HEADER:
            _, channel, length = FRAME(buffer)
            end = FRAME_EDGES + length
            if length >= LEAST_HEADER and end <= len(buffer) and buffer[end - 1] == FRAME_END:
                properties, _ = properties_in(buffer[19 : end - 1])
                return end, Header(channel, LONG(buffer, 11)[0], properties)
        return super()._read_frame()

    def _adapter_emit_data(self, data: bytes) -> None:
        transport: Any = self._transport
        if self._sends_at_once and transport is not None and not transport.get_write_buffer_size():
            # If the socket is full or lost, pika finds that out in its own way.
            with contextlib.suppress(OSError, AttributeError):
                data = data[transport._sock.send(data) :]
            if not data:
                return
        super()._adapter_emit_data(data)

    def _check_rest(self) -> None:
        # An incomplete frame would be buffered without end, as long as bytes arrive.
        rest = self._frame_buffer
        if len(rest) >= FRAME_EDGES and (length := FRAME(rest)[2]) > FRAME_MAX_SIZE:
            raise Nonsense(f"a frame of {length} bytes; the limit is {FRAME_MAX_SIZE}")


def _drop(_: list[Arrival]) -> None:
    pass


_SETTLE = struct.Struct(">BHIIQBB").pack  # kind, channel, length, method, tag, bits, end
_READ_SIZE = 65_536
_ACK, _NACK = 0x3C0050, 0x3C0078
_REQUEUE = 2
_HEADER_KIND = bytes([HEADER])
