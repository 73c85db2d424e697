"""What a worker may say: whoever has its credentials can say anything."""

import json
from typing import Any

import pytest

from longshore.contract.foreign import Unreadable, read
from longshore.contract.reports import WorkerReport

PLAIN = {"queue": "q", "worker": "w", "started_at": 1, "slots": 1, "busy": 0, "held": 0}


def test_a_plain_report_is_read() -> None:
    assert read(json.dumps(PLAIN).encode(), WorkerReport).ran == 0


@pytest.mark.parametrize(
    "odd",
    [
        {"ran": 10**400},
        {"held": -1},
        {"consuming_at": 2**60},
        {"run_seconds": float("inf")},
        {"wait": float("nan")},
        {"cordon": "x" * 65},
        {"worker": "w" * 300},
        {"queue": "q" * 300},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_numbers_that_nobody_can_reckon_with_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        read(json.dumps(PLAIN | odd).encode(), WorkerReport)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b'{"worker": "\xff"}', b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"],
    ids=["empty", "bytes", "list", "text", "nested"],
)
def test_bytes_that_are_no_report_are_refused_as_a_wrong_value(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body, WorkerReport)
