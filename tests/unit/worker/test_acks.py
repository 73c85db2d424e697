from __future__ import annotations

import random

import pytest

from longshore.worker.parent.broker.settlements import Ledger


class Channel:
    """What RabbitMQ makes of acks and nacks, with its one trap."""

    def __init__(self) -> None:
        self.unacked: set[int] = set()

    def settle(self, tag: int, multiple: bool) -> set[int]:
        """Those that are settled by it."""
        assert tag in self.unacked, f"unknown delivery tag {tag}: the channel would be closed"
        settled = {each for each in self.unacked if each <= tag} if multiple else {tag}
        self.unacked -= settled
        return settled


@pytest.mark.parametrize("seed", range(50))
def test_acks_and_nacks_settle_exactly_what_is_theirs(seed: int) -> None:
    dice = random.Random(seed)
    ledger: Ledger[int] = Ledger()
    channel = Channel()
    open_tags: list[int] = []
    done: set[int] = set()
    returned: set[int] = set()
    next_tag = 1
    for _ in range(400):
        match dice.randrange(4):
            case 0:
                for _ in range(dice.randrange(6)):
                    ledger.add(next_tag, next_tag)
                    channel.unacked.add(next_tag)
                    open_tags.append(next_tag)
                    next_tag += 1
            case 1 if open_tags:
                tag = open_tags.pop(dice.randrange(len(open_tags)))
                ledger.give_back(tag)
                returned.add(tag)
            case 2 if open_tags:
                for _ in range(min(len(open_tags), dice.randrange(8))):
                    # Mostly the oldest, as jobs end.
                    index = 0 if dice.random() < 0.7 else dice.randrange(len(open_tags))
                    tag = open_tags.pop(index)
                    ledger.settle(tag)
                    done.add(tag)
            case _:
                assert ledger.unacked == len(channel.unacked)
                acked = [channel.settle(tag, multiple) for tag, multiple in ledger.acks()]
                nacked = [channel.settle(tag, multiple) for tag, multiple in ledger.nacks()]
                assert (set().union(*acked), set().union(*nacked)) == (done, returned)
                assert channel.unacked == set(open_tags)
                done, returned = set(), set()


def test_what_ended_in_order_is_acked_at_once() -> None:
    ledger: Ledger[int] = Ledger()
    for tag in range(1, 9):
        ledger.add(tag, tag)
    for tag in (2, 1, 3, 6):
        ledger.settle(tag)
    assert list(ledger.acks()) == [(3, True), (6, False)]
    for tag in (4, 5):
        ledger.settle(tag)
    assert list(ledger.acks()) == [(5, True)]
    assert list(ledger.acks()) == []
    assert ledger.clear() == [7, 8]


def test_what_is_given_back_goes_by_few_nacks() -> None:
    ledger: Ledger[int] = Ledger()
    for tag in range(1, 9):
        ledger.add(tag, tag)
    for tag in (1, 3):
        ledger.settle(tag)
    for tag in (2, 4, 6, 7):
        ledger.give_back(tag)
    assert list(ledger.acks()) == [(1, False), (3, False)]
    assert list(ledger.nacks()) == [(4, True), (6, False), (7, False)]
    assert ledger.clear() == [5, 8]
