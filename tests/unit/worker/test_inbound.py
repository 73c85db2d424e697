"""Deliveries out of bytes: whatever the pieces, pika and we see the same."""

from __future__ import annotations

import random
import struct
from types import SimpleNamespace
from typing import Any, ClassVar

import pika
import pytest
from pika import frame, spec
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport

from longshore.amqp import private
from longshore.amqp.inbound import Arrival, Assembly, properties_in
from longshore.amqp.private import DirectConnection
from longshore.contract.message import UNDECODABLE_HEADERS
from longshore.contract.properties.reserved import MAX_HEADER_DEPTH
from tests.fuzz import amqp

CHANNEL = 1


class Wire(DirectConnection):
    """The seam without a socket: what goes on to pika is kept."""

    def __init__(self) -> None:  # not pika's: it would connect
        self._frame_buffer = b""
        self.bytes_received = 0
        self.assemblies = {}
        self.arrivals: list[Arrival] = []
        self.others: list[Any] = []
        private.listen(self, channel=CHANNEL, listener=self.arrivals.extend)

    def _process_frame(self, value: Any) -> None:
        self.others.append(value)


def delivery(
    tag: int, body: bytes, properties: pika.BasicProperties | None = None, *, piece: int = 131_064
) -> list[Any]:
    """Frames of one delivery."""
    return [
        frame.Method(CHANNEL, spec.Basic.Deliver(f"consumer-{tag % 7}", tag, False, "", "q")),
        frame.Header(CHANNEL, len(body), properties or pika.BasicProperties(message_id=f"m{tag}")),
        *(frame.Body(CHANNEL, body[at : at + piece]) for at in range(0, len(body), piece)),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_every_delivery_comes_out_whole_and_in_order_whatever_the_pieces(seed: int) -> None:
    dice = random.Random(seed)
    stream, sent, others = b"", [], 0
    for tag in range(1, 60):
        size = dice.choice([0, 1, 100, 100, 5000, 40_000, 140_000]) if dice.random() < 0.4 else 110
        body = dice.randbytes(size)
        sent.append((tag, f"m{tag}", body))
        for each in delivery(
            tag, body, piece=dice.choice([7, 500, 131_064]) if size < 200 else 50_000
        ):
            stream += each.marshal()
            if dice.random() < 0.1:
                interloper = (
                    frame.Heartbeat()
                    if dice.random() < 0.5
                    else frame.Method(2, spec.Basic.CancelOk("x"))
                )
                stream += interloper.marshal()
                others += 1
    wire, position = Wire(), 0
    while position < len(stream):
        size = dice.choice([1, 7, 50, 300, 4096, 65_536]) if seed % 4 else 262_144
        wire._on_data_available(stream[position : position + size])
        position += size
    arrived = [(tag, properties_in(header)[0], body) for tag, header, body, _ in wire.arrivals]
    assert [(tag, found.message_id, body) for tag, found, body in arrived] == sent
    assert len(wire.others) == others
    assert wire.bytes_received == len(stream)


def test_another_channels_content_is_left_to_pika() -> None:
    wire = Wire()
    for each in delivery(1, b"body"):
        each.channel_number = 2
        wire._on_data_available(each.marshal())
    assert not wire.arrivals
    assert len(wire.others) == 3


def test_methods_of_the_channel_itself_are_left_to_pika() -> None:
    wire = Wire()
    wire._on_data_available(frame.Method(CHANNEL, spec.Basic.CancelOk("x")).marshal())
    wire._on_data_available(b"".join(each.marshal() for each in delivery(5, b"body")))
    assert [type(other.method) for other in wire.others] == [spec.Basic.CancelOk]
    assert [tag for tag, *_ in wire.arrivals] == [5]


def test_a_broken_frame_is_pikas_to_complain_about() -> None:
    data = bytearray(delivery(1, b"body")[0].marshal())
    data[-1] = 0
    with pytest.raises(pika.exceptions.InvalidFrameError):
        Wire()._on_data_available(bytes(data))


def test_after_leaving_content_in_flight_is_dropped() -> None:
    wire = Wire()
    first, *rest = delivery(1, b"body")
    wire._on_data_available(first.marshal())
    private.leave(wire, channel=CHANNEL)
    wire._on_data_available(b"".join(each.marshal() for each in rest))
    assert not wire.arrivals
    assert not wire.others


NAN = b"d" + struct.pack(">d", float("nan"))
ENDLESS = b"d" + struct.pack(">d", float("inf"))
FAR_DATE = b"T" + struct.pack(">Q", 2**63)
UNKNOWN_KIND = b"?" + b"\0" * 8


@pytest.mark.parametrize("value", [NAN, ENDLESS, FAR_DATE, UNKNOWN_KIND])
def test_headers_that_nobody_can_read_cost_nothing_but_themselves(value: bytes) -> None:
    placeholder = 2**62 + 12345
    properties = pika.BasicProperties(
        content_type="application/json", type="h", message_id="m", headers={"x": placeholder}
    )
    stream = b"".join(each.marshal() for each in delivery(1, b"body", properties))
    wire = Wire()
    wire._on_data_available(stream.replace(b"l" + struct.pack(">q", placeholder), value))
    ((_, header, body, _),) = wire.arrivals
    kept, fault = properties_in(header)
    assert fault
    assert body == b"body"
    assert (kept.content_type, kept.type, kept.message_id) == ("application/json", "h", "m")
    assert value in kept.headers[UNDECODABLE_HEADERS]


@pytest.mark.parametrize("levels", [MAX_HEADER_DEPTH + 1, 970, 1400])
def test_headers_that_are_nested_too_deep_are_told_as_such_at_any_depth(levels: int) -> None:
    table = amqp.table_of(n=amqp.nested(levels, kind="F"))
    kept, fault = properties_in(struct.pack(">H", 1 << 13) + table)
    assert fault == f"its headers are nested more than {MAX_HEADER_DEPTH} levels deep"
    assert kept.headers == {UNDECODABLE_HEADERS: table}


def test_properties_that_make_no_sense_at_all_are_kept_as_bytes() -> None:
    assembly = Assembly(CHANNEL)
    garbage = b"\xff\xfe\xff"
    header = struct.pack(">BHI", 2, CHANNEL, 12 + len(garbage))
    header += struct.pack(">HHQ", 60, 0, 0) + garbage + b"\xce"
    arrivals, _ = assembly.take(delivery(1, b"")[0].marshal() + header, 0)
    properties, fault = properties_in(arrivals[0][1])
    assert fault
    assert properties.headers == {UNDECODABLE_HEADERS: garbage}


def test_what_the_socket_holds_is_read_by_one_call() -> None:
    class Socket:
        sizes: ClassVar[list[int]] = []

        def recv(self, size: int) -> bytes:
            self.sizes.append(size)
            return b"x" * 10

    transport = _AsyncPlaintextTransport.__new__(_AsyncPlaintextTransport)
    transport._state, transport._sock = transport._STATE_ACTIVE, Socket()
    received: list[bytes] = []
    transport._protocol = SimpleNamespace(data_received=received.append)
    wire = Wire()
    wire._transport = transport
    wire.read_much_at_once()
    transport._consume()
    assert received == [b"x" * 10]
    assert Socket.sizes == [65_536]
