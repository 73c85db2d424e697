"""The line that the log gets when a delivery is settled.

A success is told by hand-made JSON: the standard library's way through records and formatters
costs more than all else that the parent does for a short job.
"""

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted

from longshore.logs import Log, Stamp
from longshore.worker.parent.jobs.outcome import Outcome, Verdict
from longshore.worker.parent.jobs.work import Work

log = Log("longshore.jobs")


class JobLog:
    """Logs one TaskQueue's jobs; `put` writes a line, `now` gives seconds since the epoch."""

    def __init__(
        self,
        put: Callable[[str], None],
        *,
        task_queue: str,
        successes: bool,
        now: Callable[[], float],
    ) -> None:
        self._put = put
        self._task_queue = task_queue
        self._middle = (
            '"level": "info", "event": "job-settled", "outcome": "succeeded", '
            f'"task_queue": {quoted(task_queue)}'
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
        at_level = log.info if is_well else log.warning
        at_level(
            "job-settled",
            outcome=verdict.outcome,
            task_queue=self._task_queue,
            **fields,
            reason=verdict.reason,
            error=verdict.error,
            delay=None if verdict.delay is None else round(verdict.delay, 3),
        )
