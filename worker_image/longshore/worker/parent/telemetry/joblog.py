"""The line that the log gets when a delivery is settled.

A success is told by hand-made JSON: the standard library's way through records and formatters
costs more than all else that the parent does for a short job.
"""

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted

from longshore.logs import Log
from longshore.stamp import Stamp
from longshore.worker.parent.jobs.outcome import Outcome, Verdict
from longshore.worker.parent.jobs.work import Work

log = Log("longshore.jobs")


class JobLog:
    """Tells of one queue's jobs; `put` writes a line, `now` gives seconds since the epoch."""

    def __init__(
        self,
        put: Callable[[str], None],
        *,
        queue: str,
        successes: bool,
        now: Callable[[], float],
    ) -> None:
        self._put = put
        self._queue = queue
        self._middle = (
            f'"level": "info", "event": "job", "outcome": "succeeded", "queue": {quoted(queue)}'
        )
        self._successes = successes
        self._stamp = Stamp(now)

    def succeeded(self, work: Work, seconds: float) -> None:
        """A job is done; nothing where the configuration wants no such lines."""
        if not self._successes:
            return
        message = work.message
        self._put(
            f'{{"time": "{self._stamp()}", {self._middle}, '
            f'"job": {quoted(message.id)}, '
            f'"handler": {quoted(message.handler)}, "attempt": {message.attempt}, '
            f'"seconds": {seconds:.4f}}}\n'
        )

    def settled(self, verdict: Verdict, fields: dict[str, object]) -> None:
        """Any other end."""
        is_well = verdict.outcome is Outcome.SUCCEEDED or verdict.is_expected
        tell = log.info if is_well else log.warning
        tell(
            "job",
            outcome=verdict.outcome,
            queue=self._queue,
            **fields,
            reason=verdict.reason,
            error=verdict.error,
            delay=None if verdict.delay is None else round(verdict.delay, 3),
        )
