"""Which lost deliveries were attempts.

RabbitMQ counts every delivery that ended with its connection, its channel or its worker, whether or
not the job had begun. A worker that outlives the loss knows better, and remembers it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from longshore.contract.message import Message

REMEMBERED = 10_000
"""Jobs whose losses are remembered: those of some eighty lost connections of a worker that held as
many as it may."""

Key = tuple[str, str]
"""A job's id and attempt: of a job that was published anew, RabbitMQ counts from zero."""


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
    """Remembers what became of jobs whose deliveries this worker has lost.

    `allowance` is how many lost deliveries of a job that nothing is known about count for nothing.
    """

    def __init__(self, *, allowance: int) -> None:
        self._allowance = allowance
        self._known: OrderedDict[Key, _Lost] = OrderedDict()

    def note(self, key: Key, *, begun: bool) -> None:
        """A delivery was lost here, after the job had begun or before."""
        lost = self._known.setdefault(key, _Lost())
        self._known.move_to_end(key)
        lost.count(begun=begun)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def attempts(self, message: Message, key: Key) -> int:
        """How many of `message.lost` count as attempts.

        What began here and was not reported counts. What is known not to have begun does not, nor
        does the allowance of what nothing is known about; RabbitMQ's delivery limit bounds both.
        """
        known = self._known.get(key, _Lost())
        left = max(0, message.lost - known.unbegun)
        begun = min(left, known.begun)
        return begun + max(0, left - begun - self._allowance)
