from __future__ import annotations

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.jobs.losses import OUTAGE_ENDS_AFTER, REMEMBERED, Losses

KEY = ("j-1", "1")


def attempts(lost: int, *, begun: int = 0, unbegun: int = 0, allowance: int = 0) -> int:
    losses = Losses(allowance=allowance, clock=lambda: 0.0)
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
    losses = Losses(allowance=0, clock=lambda: 0.0)
    for number in range(REMEMBERED + 1):
        losses.note((str(number), "1"), begun=False)
    message = Message(id="0", handler="h", body=b"", enqueued_at=0, lost=1)
    assert losses.attempts(message, ("0", "1")) == 1
    assert losses.attempts(message, ("1", "1")) == 0


def test_what_others_lost_in_an_outage_that_this_worker_had_too_does_not_count() -> None:
    """RabbitMQ stood still: it gives a job to one dead connection after the other."""
    now = 0.0
    losses = Losses(allowance=0, clock=lambda: now)
    message = Message(id="j-1", handler="h", body=b"", enqueued_at=0, lost=3)
    assert losses.attempts(message, KEY) == 3

    losses.on_consumer_lost()
    now = 1000.0
    assert losses.attempts(message, KEY) == 0, "a job may come before we know that we consume"
    losses.on_consumer_back()
    now += OUTAGE_ENDS_AFTER - 1
    assert losses.attempts(message, KEY) == 0
    now += 1
    assert losses.attempts(message, KEY) == 3


def test_what_began_here_counts_in_an_outage_too() -> None:
    losses = Losses(allowance=0, clock=lambda: 0.0)
    losses.note(KEY, begun=True)
    losses.on_consumer_lost()
    message = Message(id="j-1", handler="h", body=b"", enqueued_at=0, lost=3)

    assert losses.attempts(message, KEY) == 1


def test_a_worker_that_starts_has_had_no_outage() -> None:
    """A job that ends its workers must run out of attempts."""
    losses = Losses(allowance=0, clock=lambda: 0.0)
    losses.on_consumer_back()
    message = Message(id="j-1", handler="h", body=b"", enqueued_at=0, lost=3)

    assert losses.attempts(message, KEY) == 3
