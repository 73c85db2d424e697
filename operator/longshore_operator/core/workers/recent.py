"""How long jobs ran lately and how long workers took to start, learned from reports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.workers.forgetting import forget

WINDOW = 600.0
"""Seconds for which run times count."""

LEAST = 20
"""Jobs that count even if they are older: of a queue with little to do, old news are all."""

STARTS = 10
"""Starts of workers over which is averaged."""

QUICKEST_OF = 100
"""Starts of which the quickest counts: more than come together, as those slow each other down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """How long recent jobs ran."""

    count: int
    mean: float
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """What was learned. It may be forgotten: workers tell their sums again."""

    since: int
    """ms since the epoch. What older workers did before they are heard of is not new."""

    samples: tuple[tuple[float, int, float], ...] = ()
    """When how many jobs were heard of, and how long they ran together, in seconds."""

    finished: int = 0
    """Attempts that ended since then. It only grows."""

    starts: tuple[float, ...] = ()
    """Seconds from a pod's creation until it consumed, less what it waited for a CPU, the latest
    last. Those that start together make each other wait: counted, it would be a reason to order
    more of them."""

    seen: Mapping[str, WorkerReport] = field(default_factory=dict)
    """Last reports, of those heard of last."""

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
        """Seconds from a pod's creation until it consumes, where no CPU is waited for."""
        lately = self.starts[-STARTS:]
        return sum(lately) / len(lately) if lately else None

    @property
    def quickest(self) -> float | None:
        """The same of the one that started fastest."""
        return min(self.starts, default=None)

    def learned(
        self,
        reports: Mapping[str, WorkerReport],
        pods: Iterable[Pod],
        *,
        now: float,
        most: int = MOST_WORKERS,
    ) -> "Recent":
        """With what `reports` add; `most` is how many workers there can be."""
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
    # Kubernetes cuts its times off to whole seconds: half of one on average.
    took = max(0.0, consuming - created - 0.5)
    ran, waited = report.cpu_ran, report.cpu_waited
    if not ran or waited is None:
        return took
    # The process tells its own waiting. What came before it is taken to have waited in the same
    # measure, but no longer: most of a long time is an image that was pulled, or a new node.
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
