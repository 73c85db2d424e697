"""Jobs that wait, from what queues and workers say."""

from collections.abc import Collection, Mapping

from longshore.contract.reports import WorkerReport
from longshore_operator.core.rabbitmq.depth import Depth, Missing


def waiting(
    depth: Depth | Missing | None,
    *,
    reports: Mapping[str, WorkerReport],
    cordoned: Collection[str],
) -> int | None:
    """Jobs that wait in the queue; None is unknown. `cordoned` are workers that were told so."""
    if not isinstance(depth, Depth):
        return None
    consuming = any(
        not report.draining and report.cordon is None and report.worker not in cordoned
        for report in reports.values()
    )
    if depth == Depth(ready=0, consumers=0) and consuming:
        # A quorum queue without a leader answers so, and without any error.
        return None
    return depth.ready


def longest_wait(
    reports: Mapping[str, WorkerReport], *, before: Mapping[str, WorkerReport]
) -> float | None:
    """Seconds that a job had waited which began since the reports of `before`."""
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
