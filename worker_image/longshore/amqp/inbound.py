"""Straight from and to the socket: the one place that leans on private parts of pika.

pika turns each frame into objects and decodes each header table, which costs more than all the rest
of a short job's way through the parent; and a header value that it cannot decode (a date after
the year 9999) costs the connection, again and again. Here content frames of one channel are
put together by hand, properties stay bytes until somebody asks for them, and all other frames go
on to pika.

What is to be sent, pika keeps until the event loop says that the socket takes it, which takes two
changes of an epoll and another turn of the loop. Here it is sent at once, and acks as one piece.

With a pika whose inside looks different, `connection_class` gives its public class.
"""

import contextlib
import struct
from collections.abc import Callable, Iterable
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.spec import FRAME_MAX_SIZE

from longshore.contract.message import UNDECODABLE_HEADERS
from longshore.contract.properties.reserved import MAX_HEADER_DEPTH, is_too_nested

PIKA_SERIES = "1.4."
"""Versions of pika whose inside is known here."""


Arrival = tuple[int, bytes, bytes, bool]
"""One delivery as it came: its tag, its properties' bytes, its body, and whether the broker says
that it had delivered it before."""

Settled = Iterable[tuple[int, bool]]
"""Tags of deliveries, and whether all before them are meant too."""

Listener = Callable[[list[Arrival]], None]


def is_known(pika_version: str, connection: type[Any] = AsyncioConnection) -> bool:
    """Whether the seam fits this pika."""
    needed = (
        "_on_data_available",
        "_trim_frame_buffer",
        "_process_frame",
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
        _SETTLE(_METHOD, channel, 13, _ACK, tag, multiple, _FRAME_END) for tag, multiple in acks
    ]
    frames += [
        _SETTLE(_METHOD, channel, 13, _NACK, tag, multiple | _REQUEUE, _FRAME_END)
        for tag, multiple in nacks
    ]
    if frames:
        connection._output_marshaled_frames([b"".join(frames)])
    return True


def properties_in(header: bytes) -> tuple[pika.BasicProperties, str | None]:
    """The properties whose bytes these are, and what of them cannot be read."""
    properties = pika.BasicProperties()
    try:
        properties.decode(header)
    # pika raises what struct, datetime and float raise.
    except Exception as error:
        fault = f"its headers cannot be read: {type(error).__name__}: {error}"
        return _without_headers(header), fault
    if is_too_nested(properties.headers):
        fault = f"its headers are nested more than {MAX_HEADER_DEPTH} levels deep"
        return _without_headers(header), fault
    return properties, None


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
        while len(buffer) - position >= _FRAME_EDGES:
            _, channel, length = _FRAME(buffer, position)
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
            end = position + _FRAME_EDGES + length
            if end > len(buffer):
                break
            super()._on_data_available(buffer[position:end])
            position = end
        self._frame_buffer = buffer[position:]
        self._check_rest()

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
        if len(rest) >= _FRAME_EDGES and (length := _FRAME(rest)[2]) > FRAME_MAX_SIZE:
            raise Nonsense(f"a frame of {length} bytes; {FRAME_MAX_SIZE} are the most")


class Nonsense(Exception):
    """Bytes that no broker sends: the connection is lost."""


class Assembly:
    """Puts the content frames of `channel` together, whatever pieces they come in."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._tag = 0
        self._is_redelivered = False
        self._header = b""
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes of the current delivery's body that have not come yet."""

        self._is_open = False
        """Within a delivery: its method has come, its end not."""

    def take(self, buffer: bytes, position: int) -> tuple[list[Arrival], int]:
        """Deliveries that end in `buffer`, and where the first frame begins that is none of ours.

        That is also where an incomplete frame begins.
        """
        arrivals: list[Arrival] = []
        size, own = len(buffer), self._channel
        # Local ones take half the time.
        tag, header, missing, is_open = self._tag, self._header, self._missing, self._is_open
        parts = self._parts
        while size - position >= _FRAME_EDGES:
            kind, channel, length = _FRAME(buffer, position)
            end = position + _FRAME_EDGES + length
            if end > size or channel != own or buffer[end - 1] != _FRAME_END:
                break
            if not is_open:
                if kind != _METHOD or not buffer.startswith(_DELIVER, position + 7):
                    break
                # A consumer tag, as short string, stands before the delivery tag.
                at = position + 12 + buffer[position + 11]
                if at + 9 >= end:
                    raise Nonsense("a delivery without a tag")
                (tag,) = _LONG(buffer, at)
                self._is_redelivered = bool(buffer[at + 8])
                is_open = True
            elif kind == _HEADER:
                if length < _LEAST_HEADER or header:
                    raise Nonsense("a header that is none, or the second of a delivery")
                (missing,) = _LONG(buffer, position + 11)
                header = buffer[position + 19 : end - 1]
            elif kind == _BODY:
                parts.append(buffer[position + 7 : end - 1])
                missing -= length
            else:
                break  # a method within content is pika's to complain about
            position = end
            if missing < 0:
                raise Nonsense("a body longer than announced, or without a header")
            if header and not missing:
                body = parts[0] if len(parts) == 1 else b"".join(parts)
                arrivals.append((tag, header, body, self._is_redelivered))
                parts.clear()
                header, is_open = b"", False
        self._tag, self._header, self._missing, self._is_open = tag, header, missing, is_open
        return arrivals, position


def _without_headers(header: bytes) -> pika.BasicProperties:
    """All properties but the headers, which are kept as the bytes they are."""
    properties = pika.BasicProperties()
    try:
        (flags,) = _SHORT(header, 0)
        start = 2
        for flag in (_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING):
            if flags & flag:
                start += 1 + header[start]
        (length,) = _WORD(header, start)
        table = header[start : start + 4 + length]
        rest = header[2:start] + header[start + 4 + length :]
        properties.decode(struct.pack(">H", flags & ~_HAS_HEADERS) + rest)
        properties.headers = {UNDECODABLE_HEADERS: table}
    except Exception:  # not even that: the raw bytes are all there is
        properties = pika.BasicProperties(headers={UNDECODABLE_HEADERS: header})
    return properties


def _drop(_: list[Arrival]) -> None:
    pass


_FRAME = struct.Struct(">BHI").unpack_from  # kind, channel, length
_SHORT = struct.Struct(">H").unpack_from
_WORD = struct.Struct(">I").unpack_from
_LONG = struct.Struct(">Q").unpack_from
_SETTLE = struct.Struct(">BHIIQBB").pack  # kind, channel, length, method, tag, bits, end
_READ_SIZE = 65_536
_FRAME_EDGES = 8
_FRAME_END = 0xCE
_LEAST_HEADER = 14  # class, weight, size of the body, flags
_METHOD, _HEADER, _BODY = 1, 2, 3
_ACK, _NACK = 0x3C0050, 0x3C0078
_REQUEUE = 2
_DELIVER = b"\x00\x3c\x00\x3c"
_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
