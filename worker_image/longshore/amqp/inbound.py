"""Extracts deliveries from the bytes of a stream, without pika's objects in between.

pika turns each frame into objects and decodes each header table. This costs more than everything
else that the parent does for a short job. And a header value that pika cannot decode (a date after
the year 9999) ends the connection, again and again. Here the content frames of one channel are
assembled directly, and properties stay bytes until they are needed.
"""

import struct
from collections.abc import Callable, Iterable

import pika

from longshore.contract.message import UNDECODABLE_HEADERS
from longshore.contract.properties.reserved import MAX_HEADER_DEPTH, is_too_nested

Arrival = tuple[int, bytes, bytes, bool]
"""One delivery: its tag, the bytes of its properties, its body, and whether the broker marks it as
redelivered."""

Tags = Iterable[tuple[int, bool]]
"""Tags of deliveries, and whether each includes all earlier ones."""

Listener = Callable[[list[Arrival]], None]


def properties_in(header: bytes) -> tuple[pika.BasicProperties, str | None]:
    """Decode properties; return them, and why a part of them cannot be read, or None."""
    properties = pika.BasicProperties()
    try:
        properties.decode(header)
        is_too_deep = is_too_nested(properties.headers)
    except RecursionError:
        is_too_deep = True
    # pika passes on errors of struct, datetime and float.
    except Exception as error:
        fault = f"its headers cannot be read: {type(error).__name__}: {error}"
        return _without_headers(header), fault
    if is_too_deep:
        fault = f"its headers are nested more than {MAX_HEADER_DEPTH} levels deep"
        return _without_headers(header), fault
    return properties, None


class Nonsense(Exception):
    """Bytes that no broker sends. The connection is lost."""


class Assembly:
    """Assembles the content frames of `channel`, however they are split."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._tag = 0
        self._is_redelivered = False
        self._header = b""
        self._parts: list[bytes] = []
        self._missing = 0
        """Bytes of the current delivery's body that have not arrived yet."""

        self._is_open = False
        """Whether a delivery is incomplete: its method has arrived, but not its end."""

    def take(self, buffer: bytes, position: int) -> tuple[list[Arrival], int]:
        """Return the deliveries that end in `buffer`, and the position of the first foreign frame.

        The position may also be that of an incomplete frame.
        """
        arrivals: list[Arrival] = []
        size, own = len(buffer), self._channel
        # Local variables take half the time.
        tag, header, missing, is_open = self._tag, self._header, self._missing, self._is_open
        parts = self._parts
        while size - position >= FRAME_EDGES:
            kind, channel, length = FRAME(buffer, position)
            end = position + FRAME_EDGES + length
            if end > size or channel != own or buffer[end - 1] != FRAME_END:
                break
            if not is_open:
                if kind != METHOD or not buffer.startswith(_DELIVER, position + 7):
                    break
                # The consumer tag, a short string, precedes the delivery tag.
                at = position + 12 + buffer[position + 11]
                if at + 9 >= end:
                    raise Nonsense("a delivery without a tag")
                (tag,) = LONG(buffer, at)
                self._is_redelivered = bool(buffer[at + 8])
                is_open = True
            elif kind == HEADER:
                if length < LEAST_HEADER or header:
                    raise Nonsense("an invalid header, or the second header of a delivery")
                (missing,) = LONG(buffer, position + 11)
                header = buffer[position + 19 : end - 1]
            elif kind == BODY:
                parts.append(buffer[position + 7 : end - 1])
                missing -= length
            else:
                break  # a method within content, which pika reports
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
    """Decode all properties except the headers, which are kept as raw bytes."""
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
    except Exception:  # not even that works, so all is kept as raw bytes
        properties = pika.BasicProperties(headers={UNDECODABLE_HEADERS: header})
    return properties


FRAME = struct.Struct(">BHI").unpack_from
"""Kind, channel and length of a frame."""

LONG = struct.Struct(">Q").unpack_from
FRAME_EDGES = 8
FRAME_END = 0xCE
METHOD, HEADER, BODY = 1, 2, 3
LEAST_HEADER = 14
"""Minimum bytes of a content header's payload: class, weight, size of the body, flags."""

_SHORT = struct.Struct(">H").unpack_from
_WORD = struct.Struct(">I").unpack_from
_DELIVER = b"\x00\x3c\x00\x3c"
_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING, _HAS_HEADERS = 1 << 15, 1 << 14, 1 << 13
