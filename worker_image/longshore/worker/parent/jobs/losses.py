"""Decides which lost deliveries were attempts.

RabbitMQ counts every delivery that ended with its connection, its channel or its worker, whether or
not the job had begun. A worker that survives the loss knows which jobs had, and remembers them.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from longshore.contract.message import Message

REMEMBERED = 10_000
"""Jobs whose losses are remembered. This is enough for some eighty lost connections of a worker
that held as many jobs as it may."""

OUTAGE_ENDS_AFTER = 60.0
"""Seconds after this worker's consumer is back during which losses of other workers may stem from
the same outage."""

Key = tuple[str, str]
"""A job's id and attempt. When a job is published anew, RabbitMQ counts from zero."""


@dataclass(slots=True)
class _Lost:
    begun: int = 0
    unbegun: int = 0

    def count(self, *, begun: bool) -> None:
        if begun:
            self.begun += 1
        else:
            self.unbegun += 1


class Losses:
    """Remembers whether jobs had begun when this worker lost their deliveries.

    `allowance` is how many lost deliveries of a job do not count if nothing is known about them;
    `clock` returns seconds of a monotonic clock.
    """

    def __init__(self, *, allowance: int, clock: Callable[[], float]) -> None:
        self._allowance = allowance
        self._clock = clock
        self._is_outage = False
        self._outage_until = -inf
        self._known: OrderedDict[Key, _Lost] = OrderedDict()

    def note(self, key: Key, *, begun: bool) -> None:
        """Record that a delivery was lost here, after the job had begun or before."""
        lost = self._known.setdefault(key, _Lost())
        self._known.move_to_end(key)
        lost.count(begun=begun)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def on_consumer_lost(self) -> None:
        """Record that RabbitMQ has stopped sending jobs to this worker."""
        self._is_outage = True

    def on_consumer_back(self) -> None:
        """Record that RabbitMQ sends jobs again."""
        if self._is_outage:
            self._is_outage = False
            self._outage_until = self._clock() + OUTAGE_ENDS_AFTER

    def attempts(self, message: Message, key: Key) -> int:
        """Return how many of `message.lost` count as attempts.

        A run that began here and did not report its end counts. A delivery that is known not to
        have begun does not count, nor do `allowance` deliveries about which nothing is known. After
        an outage, none of the latter counts: a RabbitMQ that stood still gives a job to one dead
        connection after another, and a job that ended its worker would not have cost this worker
        its consumer. RabbitMQ's delivery limit bounds all three.
        """
        known = self._known.get(key, _Lost())
        left = max(0, message.lost - known.unbegun)
        begun = min(left, known.begun)
        if self._is_outage or self._clock() < self._outage_until:
            return begun
        return begun + max(0, left - begun - self._allowance)
