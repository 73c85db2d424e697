"""Everything of pika that is not its public API, and a way without it.

What is done here saves time or keeps one odd message from costing the connection. It fits the
versions of pika whose inside is known; with any other, pika's public API does all the work.

- Deliveries of one channel are taken out of the stream before pika sees them (`listen`).
- Properties that pika cannot decode are read as far as they can be.
- What is to be sent goes out at once, and acks as one piece. pika keeps it until the event loop
  says that the socket takes it: two changes of an epoll and another turn of the loop.
- Passive declares are under way together (`declare_together`).
- What arrives after a cancellation goes back without a charge (`return_when_cancelled`).
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
    Settled,
    properties_in,
)

PIKA_SERIES = "1.4."
"""Versions of pika whose inside is known here."""


def is_known(pika_version: str, connection: type[Any] = AsyncioConnection) -> bool:
    """Whether the seam fits this pika."""
    needed = (
        "_on_data_available",
        "_read_frame",
        "_adapter_emit_data",
        "_output_marshaled_frames",
    )
    return pika_version.startswith(PIKA_SERIES) and all(hasattr(connection, n) for n in needed)


def connection_class(pika_version: str = pika.__version__) -> type[AsyncioConnection]:
    """The class to open connections with: ours where it fits, else pika's own."""
    return DirectConnection if is_known(pika_version) else AsyncioConnection


def listen(connection: Any, *, channel: int, listener: Listener) -> bool:
    """Have deliveries on `channel` given to `listener`; False where only pika's own way works."""
    if not isinstance(connection, DirectConnection):
        return False
    connection.assemblies[channel] = (Assembly(channel), listener)
    connection.read_much_at_once()
    return True


def leave(connection: Any, *, channel: int) -> None:
    """Hear nothing more of a channel that closes; what still arrives on it is dropped."""
    known = getattr(connection, "assemblies", {}).get(channel)
    if known:
        connection.assemblies[channel] = (known[0], _drop)


def settle(connection: Any, *, channel: int, acks: Settled, nacks: Settled) -> bool:
    """Send acks, then nacks that requeue, on a channel that is open; False where only pika can."""
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
    """Send passive declares of `queues` at once; False where only pika's own way works.

    They are answered in order, until the channel closes over a queue that is not there. pika's own
    way, one after the other, takes four times the CPU.
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
    """Have what arrives after a cancellation returned to its queue without a charge.

    pika rejects it, and a reject counts as a failed delivery.
    """
    if isinstance(channel.connection, DirectConnection):
        channel.basic_reject = functools.partial(channel.basic_nack, requeue=True)


def close_socket_of(callback: Callable[..., object]) -> None:
    """Close the socket behind a reader or writer of pika's.

    They are methods of what holds the socket: by this nobody needs to know how far a connection has
    got. With another pika the socket is closed when its memory is freed.
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
        """Have whatever the socket holds read by one call.

        pika reads 4 KiB, which is a dozen short jobs, again and again until the kernel refuses.
        """
        transport: Any = getattr(self, "_transport", None)
        # Not of TLS: what OpenSSL has decrypted and kept back, no epoll tells of.
        if type(transport).__name__ == "_AsyncPlaintextTransport":
            transport._MAX_RECV_BYTES = _READ_SIZE
            transport._MAX_CONSUME_BYTES = 1  # enough after one read; epoll tells if there is more
            self._sends_at_once = True

    def _on_data_available(self, data: bytes) -> None:
        if not self.assemblies:  # before the handshake's end not even frames are certain
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
                    # Heartbeats are checked by the bytes that have come in.
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
        # A header that pika cannot decode would cost the connection, whichever channel it is on.
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
            # Where it is full, or lost, pika finds that out in its own way.
            with contextlib.suppress(OSError, AttributeError):
                data = data[transport._sock.send(data) :]
            if not data:
                return
        super()._adapter_emit_data(data)

    def _check_rest(self) -> None:
        # A frame that is never complete would be waited for, and kept, as long as bytes come.
        rest = self._frame_buffer
        if len(rest) >= FRAME_EDGES and (length := FRAME(rest)[2]) > FRAME_MAX_SIZE:
            raise Nonsense(f"a frame of {length} bytes; {FRAME_MAX_SIZE} are the most")


def _drop(_: list[Arrival]) -> None:
    pass


_SETTLE = struct.Struct(">BHIIQBB").pack  # kind, channel, length, method, tag, bits, end
_READ_SIZE = 65_536
_ACK, _NACK = 0x3C0050, 0x3C0078
_REQUEUE = 2
_HEADER_KIND = bytes([HEADER])
