"""Which deliveries are ours, and how few acks settle those that are done."""

from collections.abc import Iterable
from typing import Generic, TypeVar

Delivery = TypeVar("Delivery")


class Ledger(Generic[Delivery]):
    """Deliveries of one channel by tag, from their arrival until they are settled."""

    def __init__(self) -> None:
        self._open: dict[int, Delivery] = {}
        """In the order of arrival, and so of tags."""

        self._done: list[int] = []
        """Settled here, not yet acked."""

    @property
    def unacked(self) -> int:
        """Deliveries that the broker waits to see settled."""
        return len(self._open) + len(self._done)

    def add(self, tag: int, delivery: Delivery) -> None:
        """It has arrived."""
        self._open[tag] = delivery

    def settle(self, tag: int) -> None:
        """It is to be acked; `acks` says how."""
        del self._open[tag]
        self._done.append(tag)

    def forget(self, tag: int) -> None:
        """It is settled in another way than by an ack."""
        del self._open[tag]

    def acks(self) -> Iterable[tuple[int, bool]]:
        """Tags to ack now, with whether all below are meant too.

        A tag stands for those below it only if none of them is open. It is never one that was acked
        before: RabbitMQ closes the channel over that.
        """
        done, self._done = self._done, []
        if not done:
            return []
        lowest_open = next(iter(self._open), None)
        if lowest_open is None:
            return [(max(done), len(done) > 1)]
        below = [tag for tag in done if tag < lowest_open]
        merged = [(max(below), len(below) > 1)] if below else []
        return merged + [(tag, False) for tag in done if tag > lowest_open]

    def clear(self) -> list[Delivery]:
        """The broker has taken all back; those that were open."""
        gone = list(self._open.values())
        self._open.clear()
        self._done.clear()
        return gone
