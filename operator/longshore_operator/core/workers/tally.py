"""Counts jobs over workers that come and go."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from longshore_operator.core.workers.forgetting import forget


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Jobs done and attempts failed since the TaskQueue was created.

    The numbers are approximate: what happens while no operator listens is not counted. Prometheus
    has exact numbers.
    """

    since: int
    """ms since the epoch. For workers that are older, only what they do from now on is counted,
    because a previous operator may have counted the rest."""

    succeeded: int = 0
    failed: int = 0
    seen: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """Last counters of each worker, by name and start."""

    def counted(self, reports: Collection[WorkerReport], *, most: int = MOST_WORKERS) -> "Tally":
        """Return the tally with what `reports` add; `most` is how many workers there can be."""
        if not reports:
            return self
        succeeded, failed, seen = self.succeeded, self.failed, dict(self.seen)
        for report in reports:
            worker, now = (report.worker, report.started_at), (report.succeeded, report.failed)
            before = seen.pop(worker, now if report.started_at < self.since else (0, 0))
            succeeded += now[0] - before[0]
            failed += now[1] - before[1]
            seen[worker] = now
        forget(seen, present={(each.worker, each.started_at) for each in reports}, most=most)
        return replace(self, succeeded=succeeded, failed=failed, seen=seen)
