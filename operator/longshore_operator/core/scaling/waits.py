"""Waiting jobs, determined from queues and workers' reports."""

from collections.abc import Collection, Mapping

from longshore.contract.reports import WorkerReport
from longshore_operator.core.rabbitmq.depth import Depth, Missing


def waiting(
    depth: Depth | Missing | None,
    *,
    reports: Mapping[str, WorkerReport],
    cordoned: Collection[str],
) -> int | None:
    """Return how many jobs wait in the queue; None is unknown.

    `cordoned` are the workers that were ordered to take no jobs.
    """
    if not isinstance(depth, Depth):
        return None
    consuming = any(
        not report.draining and report.cordon is None and report.worker not in cordoned
        for report in reports.values()
    )
    if depth == Depth(ready=0, consumers=0) and consuming:
        # This is the answer of a quorum queue without a leader; there is no error.
        return None
    return depth.ready


def longest_wait(
    reports: Mapping[str, WorkerReport], *, before: Mapping[str, WorkerReport]
) -> float | None:
    """Return the longest wait, in seconds, of a job that began since the reports in `before`."""
    return max(
        (
            report.wait
            for name, report in reports.items()
            if report.wait is not None
            and before.get(name) != report
            and (report.busy or report.ran)
        ),
        default=None,
    )
