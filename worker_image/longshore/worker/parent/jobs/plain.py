"""Jobs as Longshore's own client sends them, read from the bytes of their properties.

pika's decoder and what is made of its result take 15 µs for each job, more than all else that the
parent does for a short one; this takes one. It knows one layout, that of a first attempt without
headers of the producer's own. All else, down to a byte that is not as expected, is for pika.
"""

import struct

from longshore.contract.message import MAX_TIME, Message

_LAYOUT = struct.Struct(
    ">42s"  # which properties there are, content type, length of the headers, name of the first
    "i"  # attempt
    "23s"  # name of the second header
    "q"  # when it was enqueued
    "x"  # delivery mode
    "B"  # priority
    "B36s"  # id
    "Q"  # timestamp, the same in seconds
    "B"  # length of the handler's name, which is the rest
)
_START = b"\xb8\xe0\x10application/json\0\0\0\x36\x11longshore-attemptI"
_MIDDLE = b"\x15longshore-enqueued-atl"
_ID_LENGTH = 36


def read(header: bytes, body: bytes) -> Message | None:
    """What `decode` would make of these properties; None where they have another layout."""
    if len(header) <= _LAYOUT.size:
        return None
    start, attempt, middle, enqueued_at, priority, id_length, id, timestamp, name_length = (
        _LAYOUT.unpack_from(header)
    )
    if (
        start != _START
        or middle != _MIDDLE
        or id_length != _ID_LENGTH
        or name_length != len(header) - _LAYOUT.size
        or attempt < 1
        or not 0 <= enqueued_at <= MAX_TIME
        or timestamp != enqueued_at // 1000
    ):
        return None
    try:
        return Message(
            id=id.decode(),
            handler=header[_LAYOUT.size :].decode(),
            body=body,
            enqueued_at=enqueued_at,
            attempt=attempt,
            priority=priority,
        )
    except UnicodeDecodeError:  # to pika such a name is bytes
        return None
