"""Deliveries straight from the socket's bytes: the one place that leans on private parts of pika.

pika turns each frame into objects and decodes each header table, which costs more than all the rest
of a short job's way through the parent; and a header value that it cannot decode (a date after
the year 9999) costs the connection, again and again. Here content frames of one channel are
put together by hand, properties stay bytes until somebody asks for them, and all other frames go
on to pika. With a pika whose inside looks different, `connection_class` gives its public class.
"""

import struct
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.spec import FRAME_MAX_SIZE

from longshore.contract.message import UNDECODABLE_HEADERS
from longshore.contract.reserved import MAX_HEADER_DEPTH, is_too_nested

PIKA_SERIES = "1.4."
"""Versions of pika whose inside is known here."""


Arrival = tuple[int, bytes, bytes]
"""One delivery as it came: its tag, its properties' bytes, its body."""

Listener = Callable[[list[Arrival]], None]


def is_known(pika_version: str, connection: type[Any] = AsyncioConnection) -> bool:
    """Whether the seam fits this pika."""
    needed = ("_on_data_available", "_trim_frame_buffer", "_process_frame")
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
        size = len(buffer)
        while size - position >= _FRAME_EDGES:
            kind, channel, length = _FRAME(buffer, position)
            end = position + _FRAME_EDGES + length
            if end > size or channel != self._channel or buffer[end - 1] != _FRAME_END:
                break
            if not self._is_open:
                if kind != _METHOD or buffer[position + 7 : position + 11] != _DELIVER:
                    break
                # A consumer tag, as short string, stands before the delivery tag.
                at = position + 12 + buffer[position + 11]
                if at + 8 >= end:
                    raise Nonsense("a delivery without a tag")
                (self._tag,) = _LONG(buffer, at)
                self._is_open = True
            elif kind == _HEADER:
                if length < _LEAST_HEADER or self._header:
                    raise Nonsense("a header that is none, or the second of a delivery")
                (self._missing,) = _LONG(buffer, position + 11)
                self._header = buffer[position + 19 : end - 1]
            elif kind == _BODY:
                self._parts.append(buffer[position + 7 : end - 1])
                self._missing -= length
            else:
                break  # a method within content is pika's to complain about
            position = end
            if self._missing < 0:
                raise Nonsense("a body longer than announced, or without a header")
            if self._header and not self._missing:
                parts = self._parts
                body = parts.pop() if len(parts) == 1 else b"".join(parts)
                arrivals.append((self._tag, self._header, body))
                parts.clear()
                self._header, self._is_open = b"", False
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
_READ_SIZE = 65_536
_FRAME_EDGES = 8
_FRAME_END = 0xCE
_LEAST_HEADER = 14  # class, weight, size of the body, flags
_METHOD, _HEADER, _BODY = 1, 2, 3
_DELIVER = b"\x00\x3c\x00\x3c"
_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
