"""AMQP as no client library would write it: every field type, any depth, any damage."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Container

import pika


class RawProperties(pika.BasicProperties):  # type: ignore[misc]  # pika ships no types
    """Properties whose bytes are given, flags and all."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self._raw = raw

    def encode(self) -> list[bytes]:
        return [self._raw]


TEXTS = (b"", b"a", "Привет".encode(), b"\xff\xfe\x00", b"\0", b"x" * 255, b"nan", b"longshore")
NAMES = (
    *TEXTS,
    b"mine",
    b"traceparent",
    b"longshore-attempt",
    b"longshore-enqueued-at",
    b"longshore-expires-at",
    b"longshore-undecodable-headers",
    b"longshore-dead-reason",
    b"x-death",
    b"x-delivery-count",
    b"x-last-death-queue",
    b"x-mine",
    b"CC",
    b"BCC",
)
NUMBERS = (0, 1, -1, 2, 127, 255, 2**31 - 1, -(2**31), 2**40, 2**63 - 1, -(2**63))
PROPERTIES = "SSFBBSSSSTSSSS"
"""Types of the properties by their flags, from the highest: short strings, table, octets, time."""


def table(dice: random.Random, *, depth: int, width: int = 4) -> bytes:
    """A field table, nested up to `depth` deep, with its length in front."""
    fields = b"".join(
        short(dice.choice(NAMES)) + value(dice, depth=depth - 1, width=width)
        for _ in range(dice.randrange(width + 1))
    )
    return struct.pack(">I", len(fields)) + fields


def value(dice: random.Random, *, depth: int, width: int = 4) -> bytes:
    """A field's value of any type that RabbitMQ knows, and now and then of one that nobody does."""
    kind = dice.choice("tbBsuIilLfdDSxTVAFAF")
    if kind in "AF" and depth <= 0:
        kind = "V"
    if dice.random() < 0.01:
        kind = dice.choice("zU@\0")
    write = _WRITERS.get(kind)
    return kind.encode() + (b"" if write is None else write(dice, depth, width))


def nested(depth: int, *, kind: str, core: bytes = b"V") -> bytes:
    """A value that is `depth` lists or tables deep, and nothing else."""
    for _ in range(depth):
        inner = core if kind == "A" else short(b"n") + core
        core = kind.encode() + struct.pack(">I", len(inner)) + inner
    return core


def table_of(**fields: bytes) -> bytes:
    """A table of these names and encoded values."""
    encoded = b"".join(short(name.encode()) + each for name, each in fields.items())
    return struct.pack(">I", len(encoded)) + encoded


def properties(
    dice: random.Random,
    *,
    headers: bytes | None = None,
    type_: bytes | None = None,
    without: Container[int] = (),
) -> bytes:
    """All that a content header has after the body's size: flags and properties.

    Those at the positions `without` are left out.
    """
    flags, encoded = 0, b""
    for index, kind in enumerate(PROPERTIES):
        given = {2: headers, 10: type_ and short(type_)}.get(index)
        if given is None and (index in without or dice.random() < 0.5):
            continue
        flags |= 1 << (15 - index)
        encoded += _property(dice, kind) if given is None else given
    return struct.pack(">H", flags) + encoded


def job_properties(
    handler: bytes, *, headers: bytes | None = None, message_id: bytes = b""
) -> bytes:
    """Properties of a job with these headers."""
    flags, encoded = 1 << 15, short(b"application/json")
    for flag, each in ((13, headers), (7, short(message_id)), (5, short(handler))):
        if each is not None:
            flags |= 1 << flag
            encoded += each
    return struct.pack(">H", flags) + encoded


def damaged(dice: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed, cut off or put in."""
    damaged = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        at = dice.randrange(len(damaged) + 1)
        match dice.randrange(4):
            case 0 if at < len(damaged):
                damaged[at] = dice.randrange(256)
            case 1:
                del damaged[at:]
            case 2:
                damaged[at:at] = dice.randbytes(dice.randrange(1, 9))
            case _ if len(damaged) >= 4:
                at = min(at, len(damaged) - 4)
                damaged[at : at + 4] = struct.pack(">I", dice.choice((0, 2**31, 2**32 - 1)))
    return bytes(damaged)


def short(text: bytes) -> bytes:
    """A short string."""
    return bytes([len(text)]) + text


def _long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def _number(format_: str) -> Callable[[random.Random, int, int], bytes]:
    size = struct.calcsize(f">{format_}")
    return lambda dice, *_: (dice.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size)


def _array(dice: random.Random, depth: int, width: int) -> bytes:
    values = [value(dice, depth=depth - 1, width=width) for _ in range(dice.randrange(width + 1))]
    return _long(b"".join(values))


def _float(dice: random.Random, *_: int) -> bytes:
    return struct.pack(">d", dice.choice((0.0, 1.5, -1.0, 1e30, float("nan"), float("inf"))))


def _property(dice: random.Random, kind: str) -> bytes:
    match kind:
        case "F":
            return table(dice, depth=dice.randrange(5))
        case "B":
            return dice.randbytes(1)
        case "T":
            return _number("Q")(dice, 0, 0)
        case _:
            return short(dice.choice((*TEXTS, b"application/json", b"amq.rabbitmq.reply-to", b"7")))


_WRITERS: dict[str, Callable[[random.Random, int, int], bytes]] = {
    "t": lambda dice, *_: dice.randbytes(1),
    "b": _number("b"),
    "B": _number("B"),
    "s": _number("h"),
    "u": _number("H"),
    "I": _number("i"),
    "i": _number("I"),
    "l": _number("q"),
    "L": _number("q"),
    "f": lambda dice, *_: dice.choice((b"\x7f\x80\0\0", b"\x7f\xc0\0\0", b"\x3f\xc0\0\0")),
    "d": _float,
    "D": lambda dice, *_: dice.randbytes(5),
    "S": lambda dice, *_: _long(dice.choice(TEXTS)),
    "x": lambda dice, *_: _long(dice.choice(TEXTS)),
    "T": _number("Q"),
    "V": lambda *_: b"",
    "A": _array,
    "F": lambda dice, depth, width: table(dice, depth=depth, width=width),
}
