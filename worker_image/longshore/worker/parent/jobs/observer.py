"""What becomes of a worker's jobs, told to whoever counts or logs it."""

from collections.abc import Mapping
from typing import Any, Protocol

from longshore.worker.parent.jobs.outcome import Verdict
from longshore.worker.parent.jobs.work import Work

NOTHING: Mapping[str, Any] = {}


class JobObserver(Protocol):
    """Is called for every job, in the event loop: it must return at once and raise nothing."""

    def started(self, work: Work, /, *, waited: float | None) -> None:
        """A child has the job. It waited so many seconds since it was enqueued; None where that is
        not known, as for later attempts and jobs that were delayed."""
        ...

    def progressed(self, work: Work, value: object, /) -> None:
        """Its handler reported how far it is."""
        ...

    def ended(self, work: Work, /, *, seconds: float) -> None:
        """Its run is over, however it went; what follows from it is not settled yet."""
        ...

    def settled(
        self,
        verdict: Verdict,
        work: Work | None,
        seconds: float | None,
        fields: Mapping[str, Any],
        /,
    ) -> None:
        """A delivery is settled. `work` is None where no job could be read from it, `seconds` is
        how long it ran, None where it did not; `fields` say more, for the log."""
        ...
