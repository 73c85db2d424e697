"""Which deliveries are ours, and how few acks and nacks settle them."""

import itertools
from collections.abc import Iterable
from typing import Generic, TypeVar

Delivery = TypeVar("Delivery")


class Settlements(Generic[Delivery]):
    """Deliveries of one channel by tag, from their arrival until they are settled."""

    def __init__(self) -> None:
        self._open: dict[int, Delivery] = {}
        """In the order of arrival, and so of tags."""

        self._done: list[int] = []
        """Settled here, not yet acked."""

        self._returned: list[int] = []
        """Given back here, not yet nacked."""

    @property
    def unacked(self) -> int:
        """Deliveries that the broker waits to see settled."""
        return len(self._open) + len(self._done) + len(self._returned)

    def add(self, tag: int, delivery: Delivery) -> None:
        """It has arrived."""
        self._open[tag] = delivery

    def settle(self, tag: int) -> None:
        """It is to be acked; `acks` says how."""
        del self._open[tag]
        self._done.append(tag)

    def give_back(self, tag: int) -> None:
        """It is to be nacked; `nacks` says how."""
        del self._open[tag]
        self._returned.append(tag)

    def acks(self) -> list[tuple[int, bool]]:
        """Tags to ack now, with whether all below are meant too.

        A tag stands for those below it only if none of them is open. It is never one that was acked
        before: RabbitMQ closes the channel over that.
        """
        done, self._done = self._done, []
        return _merged(done, others=(*self._first_open(), *self._returned))

    def nacks(self) -> list[tuple[int, bool]]:
        """Tags to nack now, the same way; only after the acks."""
        returned, self._returned = self._returned, []
        return _merged(returned, others=self._first_open())

    def _first_open(self) -> Iterable[int]:
        return itertools.islice(self._open, 1)

    def clear(self) -> list[Delivery]:
        """The broker has taken all back; those that were open."""
        gone = list(self._open.values())
        self._open.clear()
        self._done.clear()
        self._returned.clear()
        return gone


def _merged(tags: list[int], *, others: Iterable[int]) -> list[tuple[int, bool]]:
    if not tags:
        return []
    lowest = min(others, default=None)
    if lowest is None:
        return [(max(tags), len(tags) > 1)]
    below = [tag for tag in tags if tag < lowest]
    merged = [(max(below), len(below) > 1)] if below else []
    return merged + [(tag, False) for tag in tags if tag > lowest]
