"""What a worker may say: whoever has its credentials can say anything."""

import json
from typing import Any

import msgspec
import pytest

from longshore.contract.reports import WorkerReport

PLAIN = {"queue": "q", "worker": "w", "started_at": 1, "slots": 1, "busy": 0, "held": 0}


def test_a_plain_report_is_read() -> None:
    assert msgspec.json.decode(json.dumps(PLAIN), type=WorkerReport).ran == 0


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
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_numbers_that_nobody_can_reckon_with_are_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(json.dumps(PLAIN | odd), type=WorkerReport)
