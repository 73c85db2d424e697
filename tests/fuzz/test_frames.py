"""Bytes of a broker after the handshake: deliveries, other frames, and what is neither."""

from __future__ import annotations

import random
import struct
from typing import Any

from pika.spec import FRAME_MAX_SIZE

from longshore.amqp import inbound, private
from longshore.amqp.inbound import Arrival
from longshore.amqp.private import DirectConnection
from tests.fuzz import amqp
from tests.fuzz.conftest import Seeds

CHANNEL = 1


class Wire(DirectConnection):
    """The seam without a socket."""

    def __init__(self) -> None:  # not pika's: it would connect
        self._frame_buffer = b""
        self.bytes_received = 0
        self.assemblies = {}
        self.arrivals: list[Arrival] = []
        private.listen(self, channel=CHANNEL, listener=self.arrivals.extend)

    def _process_frame(self, value: Any) -> None:
        pass

    @property
    def kept(self) -> int:
        """Bytes that wait for others, of frames and of bodies."""
        assembly, _ = self.assemblies[CHANNEL]
        return len(self._frame_buffer) + sum(map(len, assembly._parts))


def test_whatever_a_broker_sends_is_a_delivery_or_ends_the_connection(seeds: Seeds) -> None:
    for seed in seeds:
        dice = random.Random(seed)
        stream = b"".join(_frame(dice) for _ in range(dice.randrange(1, 40)))
        if dice.random() < 0.7:
            stream = amqp.damaged(dice, stream)
        wire, announced = Wire(), 0
        try:
            while stream:
                cut = dice.choice((1, 7, 100, 4096, 65_536))
                wire._on_data_available(stream[:cut])
                stream = stream[cut:]
                announced = max(announced, wire.assemblies[CHANNEL][0]._missing)
                assert wire.kept <= announced + FRAME_MAX_SIZE + 65_536
        except AssertionError:
            raise
        except Exception:
            continue  # to pika and to the guard, that is the end of this connection
        for _, header, body, _ in wire.arrivals:
            properties, fault = inbound.properties_in(header)
            assert fault is None or properties.headers
            assert len(body) <= 10_000


def _frame(dice: random.Random) -> bytes:
    match dice.randrange(8):
        case 0:
            return _whole(8, 0, b"")
        case 1:
            return _whole(dice.choice((1, 2, 3)), CHANNEL, dice.randbytes(dice.randrange(40)))
        case 2:
            return _whole(1, 2, struct.pack(">HH", 60, 80) + struct.pack(">QB", 1, 0))
        case _:
            return _delivery(dice)


def _delivery(dice: random.Random) -> bytes:
    body = dice.randbytes(dice.choice((0, 1, 100, 3000, 9000)))
    size = len(body) if dice.random() < 0.9 else dice.choice((0, 1, 2**31, 2**63))
    method = struct.pack(">HH", 60, 60) + amqp.short(b"tag") + struct.pack(">QB", 7, 0)
    header = struct.pack(">HHQ", 60, 0, size) + amqp.properties(dice)
    bodies = b"".join(_whole(3, CHANNEL, body[at : at + 4000]) for at in range(0, len(body), 4000))
    exchange_and_key = amqp.short(b"") + amqp.short(b"q")
    return _whole(1, CHANNEL, method + exchange_and_key) + _whole(2, CHANNEL, header) + bodies


def _whole(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"
