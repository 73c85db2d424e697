from __future__ import annotations

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.jobs.losses import REMEMBERED, Losses

KEY = ("j-1", "1")


def attempts(lost: int, *, begun: int = 0, unbegun: int = 0, allowance: int = 0) -> int:
    losses = Losses(allowance=allowance)
    for _ in range(begun):
        losses.note(KEY, begun=True)
    for _ in range(unbegun):
        losses.note(KEY, begun=False)
    message = Message(id="j-1", handler="h", body=b"", enqueued_at=0, lost=lost)
    return losses.attempts(message, KEY)


@pytest.mark.parametrize(
    ("lost", "known", "counted"),
    [
        (1, {}, 1),
        (3, {}, 3),
        (1, {"allowance": 1}, 0),
        (3, {"allowance": 1}, 2),
        (1, {"begun": 1, "allowance": 1}, 1),
        (1, {"unbegun": 1}, 0),
        (5, {"unbegun": 5, "allowance": 1}, 0),
        (3, {"unbegun": 1, "begun": 1}, 2),
        (3, {"unbegun": 1, "begun": 1, "allowance": 1}, 1),
        (1, {"unbegun": 4}, 0),
    ],
    ids=[
        "unknown",
        "unknown-thrice",
        "unknown-may-have-waited",
        "unknown-thrice-may-have-waited-once",
        "began-here",
        "never-began-here",
        "never-began-here-five-times",
        "one-of-each",
        "one-of-each-with-allowance",
        "published-anew-since",
    ],
)
def test_lost_deliveries_count_unless_they_are_known_not_to_have_begun(
    lost: int, known: dict[str, int], counted: int
) -> None:
    assert attempts(lost, **known) == counted


def test_the_oldest_losses_are_forgotten() -> None:
    losses = Losses(allowance=0)
    for number in range(REMEMBERED + 1):
        losses.note((str(number), "1"), begun=False)
    message = Message(id="0", handler="h", body=b"", enqueued_at=0, lost=1)
    assert losses.attempts(message, ("0", "1")) == 1
    assert losses.attempts(message, ("1", "1")) == 0
