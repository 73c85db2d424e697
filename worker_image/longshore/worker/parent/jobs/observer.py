"""Notifies metrics and the job log of what becomes of a worker's jobs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from longshore.worker.parent.jobs.outcome import Verdict
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Ended

NOTHING: Mapping[str, Any] = {}


class JobObserver:
    """Called for every job, in the event loop: it must return at once and must not raise.

    A subclass defines the methods that it needs; the others are not called.
    """

    def started(self, work: Work, waited: float | None, /) -> None:
        """Called when a child has the job. `waited` is the time in seconds since the job was
        enqueued; None if that is unknown, as for later attempts and delayed jobs."""

    def progressed(self, work: Work, value: object, /) -> None:
        """Called when the handler has reported progress."""

    def ended(self, work: Work, seconds: float, /) -> None:
        """Called when the run has ended, whatever its result; the delivery is not settled yet."""

    def settled(
        self,
        verdict: Verdict,
        work: Work | None,
        ended: Ended | None,
        fields: Mapping[str, Any],
        /,
    ) -> None:
        """Called when a delivery is settled. `work` is None if no job could be read from it.
        `ended` is the child's report of the run; None if the job did not run, or its child died.
        `fields` are further fields for the log."""


class Observers:
    """The methods of all observers, by event; bound once, because every job calls them."""

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
