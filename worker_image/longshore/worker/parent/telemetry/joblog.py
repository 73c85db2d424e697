"""Log lines about jobs: their progress, and the settlement of each delivery.

The line of a success is formatted here as JSON, because the standard library's records and
formatters cost more than everything else that the parent does for a short job.
"""

from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from longshore.logs import Log, Stamp
from longshore.worker.parent.jobs.observer import JobObserver
from longshore.worker.parent.jobs.outcome import Outcome, Verdict
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Ended

log = Log("longshore.jobs")


class JobLog(JobObserver):
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

    def progressed(self, work: Work, value: object, /) -> None:
        """Log the progress that the handler reported."""
        log.info("job-progressed", **work.fields(), value=value)

    def settled(
        self,
        verdict: Verdict,
        work: Work | None,
        ended: Ended | None,
        fields: Mapping[str, Any],
        /,
    ) -> None:
        """Log one line; none for a success if the configuration disables these."""
        is_success = verdict.outcome is Outcome.SUCCEEDED
        if is_success and work is not None and ended is not None:
            if self._successes:
                self._succeeded(work, ended)
            return
        at_level = log.info if is_success or verdict.is_expected else log.warning
        ran = {} if ended is None else {"seconds": round(ended.seconds, 4)}
        at_level(
            "job-settled",
            outcome=verdict.outcome,
            task_queue=self._task_queue,
            **(work.fields() if work else {}),
            **ran,
            **fields,
            reason=verdict.reason,
            error=verdict.error,
            delay=None if verdict.delay is None else round(verdict.delay, 3),
        )

    def _succeeded(self, work: Work, ended: Ended) -> None:
        message = work.message
        result = "" if ended.result is None and ended.result_omitted is None else _result(ended)
        self._put(
            f'{{"time": "{self._stamp()}", {self._middle}, '
            f'"job": {quoted(message.id)}, '
            f'"handler": {quoted(message.handler)}, "attempt": {message.attempt}, '
            f'"seconds": {ended.seconds:.4f}{result}}}\n'
        )


def _result(ended: Ended) -> str:
    if ended.result is None:
        return f', "result_omitted": {quoted(ended.result_omitted or "")}'
    return f', "result": {ended.result}'
