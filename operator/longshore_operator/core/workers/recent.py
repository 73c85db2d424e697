"""How long recent jobs ran and how long recent workers took to start, learned from reports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.workers.forgetting import forget

WINDOW = 600.0
"""Seconds for which run times count."""

LEAST = 20
"""Number of jobs that count even if they are older: a queue with little work has only old ones."""

STARTS = 10
"""Number of workers' starts that are averaged."""

QUICKEST_OF = 100
"""Number of starts of which the fastest counts. It is more than happen at the same time, because
simultaneous starts slow each other down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """How long recent jobs ran."""

    count: int
    mean: float
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What was learned from reports. It may be lost, because workers report their sums again."""

    since: int
    """ms since the epoch. What older workers did before their first report is not new."""

    samples: tuple[tuple[float, int, float], ...] = ()
    """When jobs were reported, how many, and how many seconds they ran in total."""

    finished: int = 0
    """Attempts that ended since then. It only grows."""

    starts: tuple[float, ...] = ()
    """Seconds from a pod's creation until it consumed, without time spent waiting for a CPU, the
    latest last. Workers that start together make each other wait: if that counted, it would be a
    reason to request even more of them."""

    seen: Mapping[str, WorkerReport] = field(default_factory=dict)
    """The latest report of each worker that was heard from most recently."""

    @property
    def service(self) -> ServiceTimes | None:
        """How long recent jobs ran."""
        count = sum([count for _, count, _ in self.samples])
        if not count:
            return None
        return ServiceTimes(
            count=count, mean=sum([seconds for _, _, seconds in self.samples]) / count
        )

    @property
    def startup(self) -> float | None:
        """Mean seconds from a pod's creation until it consumes, without waiting for a CPU."""
        lately = self.starts[-STARTS:]
        return sum(lately) / len(lately) if lately else None

    @property
    def quickest(self) -> float | None:
        """The same for the fastest start."""
        return min(self.starts, default=None)

    def learned(
        self,
        reports: Mapping[str, WorkerReport],
        pods: Iterable[Pod],
        *,
        now: float,
        most: int = MOST_WORKERS,
    ) -> "Recent":
        """Return this with what `reports` add; `most` is how many workers there can be."""
        news = {
            worker: (self._before(report), report)
            for worker, report in reports.items()
            if self.seen.get(worker) != report
        }
        if not news:
            return self
        ran = {worker: now.ran - (then.ran if then else 0) for worker, (then, now) in news.items()}
        took = sum(
            [now.run_seconds - (then.run_seconds if then else 0) for then, now in news.values()]
        )
        created = {pod.name: pod.created for pod in pods if not pod.restarts}
        seen = {worker: report for worker, report in self.seen.items() if worker not in news}
        seen |= {worker: report for worker, (_, report) in news.items()}
        forget(seen, present=reports, most=most)
        count = sum(ran.values())
        return replace(
            self,
            samples=_kept((*self.samples, (now, count, took))) if count > 0 else self.samples,
            finished=self.finished
            + sum(
                ran[worker]
                for worker, (then, report) in news.items()
                if then or report.started_at >= self.since
            ),
            starts=(
                *self.starts,
                *(
                    _start(report, created=at)
                    for worker, (then, report) in news.items()
                    if report.consuming_at is not None
                    and not (then and then.consuming_at)
                    and (at := created.get(worker)) is not None
                ),
            )[-QUICKEST_OF:],
            seen=seen,
        )

    def _before(self, report: WorkerReport) -> WorkerReport | None:
        before = self.seen.get(report.worker)
        return before if before and before.started_at == report.started_at else None


def _start(report: WorkerReport, *, created: float) -> float:
    consuming, began = (report.consuming_at or 0) / 1000, report.started_at / 1000
    # Kubernetes truncates its times to whole seconds, which is half a second on average.
    took = max(0.0, consuming - created - 0.5)
    ran, waited = report.cpu_ran, report.cpu_waited
    if not ran or waited is None:
        return took
    # The process reports its own waiting. The time before it is assumed to have waited in the same
    # proportion, but not longer: most of a long time is an image pull or a new node.
    own = max(0.0, min(took, consuming - began))
    before = min((took - own) * waited / (ran + waited), waited)
    return max(0.0, took - before - waited)


def _kept(samples: tuple[tuple[float, int, float], ...]) -> tuple[tuple[float, int, float], ...]:
    left, oldest = sum([count for _, count, _ in samples]), samples[-1][0] - WINDOW
    for index, (at, count, _) in enumerate(samples):
        if at >= oldest or left - count < LEAST:
            return samples[index:]
        left -= count
    return samples
