"""Counting jobs over workers that come and go."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from longshore.contract.reports import WorkerReport

REMEMBERED = 20_000
"""Workers whose counters are kept, the last heard of; twice as many as a TaskQueue can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Jobs done and failed attempts since the TaskQueue exists.

    About: what happens while no operator listens is not counted. Prometheus has exact numbers.
    """

    succeeded: int = 0
    failed: int = 0
    seen: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    """Last counters of each worker, by name and start."""

    def counted(self, reports: Iterable[WorkerReport], *, listening_since: int) -> "Tally":
        """With what `reports` add.

        What a worker did before `listening_since`, in ms since the epoch, may have been counted by
        the operator that listened then, so it is not counted now.
        """
        succeeded, failed, seen = self.succeeded, self.failed, dict(self.seen)
        for report in reports:
            worker, now = (report.worker, report.started_at), (report.succeeded, report.failed)
            before = seen.pop(worker, now if report.started_at < listening_since else (0, 0))
            succeeded += now[0] - before[0]
            failed += now[1] - before[1]
            seen[worker] = now
        for forgotten in list(seen)[: max(0, len(seen) - REMEMBERED)]:
            del seen[forgotten]
        return replace(self, succeeded=succeeded, failed=failed, seen=seen)
