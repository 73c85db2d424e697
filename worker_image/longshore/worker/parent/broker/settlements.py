"""Records which deliveries are ours, and settles them by as few acks and nacks as possible."""

import itertools
from collections.abc import Iterable
from typing import Generic, TypeVar

Delivery = TypeVar("Delivery")


class Settlements(Generic[Delivery]):
    """Deliveries of one channel by tag, from their arrival until they are settled."""

    def __init__(self) -> None:
        self._open: dict[int, Delivery] = {}
        """In the order of arrival, which is also the order of tags."""

        self._done: list[int] = []
        """Settled here, but not acked yet."""

        self._returned: list[int] = []
        """Given back here, but not nacked yet."""

    @property
    def unacked(self) -> int:
        """The number of deliveries that the broker has not seen settled."""
        return len(self._open) + len(self._done) + len(self._returned)

    def add(self, tag: int, delivery: Delivery) -> None:
        """Record that a delivery has arrived."""
        self._open[tag] = delivery

    def settle(self, tag: int) -> None:
        """Mark a delivery to be acked by the next `acks`."""
        del self._open[tag]
        self._done.append(tag)

    def give_back(self, tag: int) -> None:
        """Mark a delivery to be nacked by the next `nacks`."""
        del self._open[tag]
        self._returned.append(tag)

    def acks(self) -> list[tuple[int, bool]]:
        """Return the tags to ack now, each with whether it includes all lower ones.

        A tag includes the lower ones only if none of them is open. A tag is never acked twice,
        because RabbitMQ closes the channel in that case.
        """
        done, self._done = self._done, []
        return _merged(done, others=(*self._first_open(), *self._returned))

    def nacks(self) -> list[tuple[int, bool]]:
        """Return the tags to nack now, in the same form; to be sent only after the acks."""
        returned, self._returned = self._returned, []
        return _merged(returned, others=self._first_open())

    def _first_open(self) -> Iterable[int]:
        return itertools.islice(self._open, 1)

    def clear(self) -> list[Delivery]:
        """Drop everything, because the broker has taken it back; return what was open."""
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
