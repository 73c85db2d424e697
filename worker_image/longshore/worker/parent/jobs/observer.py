"""What becomes of a worker's jobs, told to whoever counts or logs it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longshore.worker.parent.jobs.outcome import Verdict
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Ended

NOTHING: Mapping[str, Any] = {}


class JobObserver:
    """Is called for every job, in the event loop: it must return at once and raise nothing.

    A subclass defines the methods that it needs; the others are not called.
    """

    def started(self, work: Work, waited: float | None, /) -> None:
        """A child has the job. It waited so many seconds since it was enqueued; None where that is
        not known, as for later attempts and jobs that were delayed."""

    def progressed(self, work: Work, value: object, /) -> None:
        """Its handler reported how far it is."""

    def ended(self, work: Work, seconds: float, /) -> None:
        """Its run is over, however it went; what follows from it is not settled yet."""

    def settled(
        self,
        verdict: Verdict,
        work: Work | None,
        ended: Ended | None,
        fields: Mapping[str, Any],
        /,
    ) -> None:
        """A delivery is settled. `work` is None where no job could be read from it. `ended` is what
        the child reported of its run; None where it did not run, or its child died. `fields` say
        more, for the log."""


class Observers:
    """The methods of all observers by event, bound once: every job calls them."""

    def __init__(self, observers: Sequence[JobObserver]) -> None:
        self.started: Sequence[Callable[[Work, float | None], None]]
        self.started = _defined(observers, JobObserver.started)
        self.progressed: Sequence[Callable[[Work, object], None]]
        self.progressed = _defined(observers, JobObserver.progressed)
        self.ended: Sequence[Callable[[Work, float], None]]
        self.ended = _defined(observers, JobObserver.ended)
        self.settled: Sequence[
            Callable[[Verdict, Work | None, Ended | None, Mapping[str, Any]], None]
        ]
        self.settled = _defined(observers, JobObserver.settled)


def _defined(observers: Sequence[JobObserver], default: Callable[..., None]) -> tuple[Any, ...]:
    name = default.__name__
    methods = (getattr(each, name) for each in observers)
    return tuple(each for each in methods if getattr(each, "__func__", None) is not default)
