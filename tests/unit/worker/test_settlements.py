from __future__ import annotations

import random

import pytest

from longshore.worker.parent.broker.settlements import Settlements


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
    settlements: Settlements[int] = Settlements()
    channel = Channel()
    open_tags: list[int] = []
    done: set[int] = set()
    returned: set[int] = set()
    next_tag = 1
    for _ in range(400):
        match dice.randrange(4):
            case 0:
                for _ in range(dice.randrange(6)):
                    settlements.add(next_tag, next_tag)
                    channel.unacked.add(next_tag)
                    open_tags.append(next_tag)
                    next_tag += 1
            case 1 if open_tags:
                tag = open_tags.pop(dice.randrange(len(open_tags)))
                settlements.give_back(tag)
                returned.add(tag)
            case 2 if open_tags:
                for _ in range(min(len(open_tags), dice.randrange(8))):
                    # Mostly the oldest, as jobs end.
                    index = 0 if dice.random() < 0.7 else dice.randrange(len(open_tags))
                    tag = open_tags.pop(index)
                    settlements.settle(tag)
                    done.add(tag)
            case _:
                assert settlements.unacked == len(channel.unacked)
                acked = [channel.settle(tag, multiple) for tag, multiple in settlements.acks()]
                nacked = [channel.settle(tag, multiple) for tag, multiple in settlements.nacks()]
                assert (set().union(*acked), set().union(*nacked)) == (done, returned)
                assert channel.unacked == set(open_tags)
                done, returned = set(), set()


def test_what_ended_in_order_is_acked_at_once() -> None:
    settlements: Settlements[int] = Settlements()
    for tag in range(1, 9):
        settlements.add(tag, tag)
    for tag in (2, 1, 3, 6):
        settlements.settle(tag)
    assert list(settlements.acks()) == [(3, True), (6, False)]
    for tag in (4, 5):
        settlements.settle(tag)
    assert list(settlements.acks()) == [(5, True)]
    assert list(settlements.acks()) == []
    assert settlements.clear() == [7, 8]


def test_what_is_given_back_goes_by_few_nacks() -> None:
    settlements: Settlements[int] = Settlements()
    for tag in range(1, 9):
        settlements.add(tag, tag)
    for tag in (1, 3):
        settlements.settle(tag)
    for tag in (2, 4, 6, 7):
        settlements.give_back(tag)
    assert list(settlements.acks()) == [(1, False), (3, False)]
    assert list(settlements.nacks()) == [(4, True), (6, False), (7, False)]
    assert settlements.clear() == [5, 8]
