"""Jobs read from bytes: never another job than the one that pika and `decode` see."""

from __future__ import annotations

import random
from typing import Any

import pika
import pytest

from longshore.amqp.inbound import properties_in
from longshore.contract.message import MAX_TIME, Message, Undecodable, decode
from longshore.worker.parent.jobs import plain

ID = "01a1fe7e-8b40-7c95-a0e3-a5d8a92713a9"


def encoded(**properties: Any) -> bytes:
    return b"".join(pika.BasicProperties(**properties).encode())


def sent(**fields: Any) -> bytes:
    message = Message(**{"id": ID, "handler": "h", "body": b"", "enqueued_at": 2**40, **fields})
    return encoded(**message.properties())


def seen(header: bytes) -> Message | None:
    """The job as the long way finds it."""
    properties, fault = properties_in(header)
    if fault:
        return None
    try:
        return decode(properties, b"body", new_id=lambda: "new", now=lambda: 0)
    except Undecodable:
        return None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"handler": "x" * 255, "priority": 31},
        {"handler": "größer", "attempt": 7},
        {"enqueued_at": MAX_TIME},
    ],
)
def test_a_job_of_our_own_client_is_read(fields: dict[str, Any]) -> None:
    header = sent(**fields)
    assert plain.read(header, b"body") == seen(header)
    assert plain.read(header, b"body") is not None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        sent(headers={"tenant": "a"}),
        sent(traceparent="00-" + "1" * 52),
        sent(expires_at=2**41),
        sent(id="short"),
        sent(enqueued_at=7),
        sent(attempt=0),
        sent(others={"timestamp": 7}),
        sent() + b"x",
        sent()[:-1],
        sent(handler="hh")[:-1] + b"\xff",
        sent().replace(ID.encode(), b"\xff" * 36),
        encoded(type="h", content_type="application/json"),
    ],
)
def test_what_has_another_layout_is_left_to_pika(header: bytes) -> None:
    assert plain.read(header, b"body") is None


def test_no_change_of_any_byte_makes_it_another_job_than_pika_sees() -> None:
    dice = random.Random(1)
    original = sent(handler="handler", priority=3)
    read = 0
    for _ in range(30_000):
        header = bytearray(original)
        for _ in range(dice.choice([1, 1, 2, 5])):
            header[dice.randrange(len(header))] = dice.choice([0, 1, 255, dice.randrange(256)])
        if message := plain.read(bytes(header), b"body"):
            read += 1
            assert message == seen(bytes(header))
    assert read > 1000
