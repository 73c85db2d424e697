"""Sixty jobs at once on an empty queue with no worker: the spike that KEDA was measured with.

All rounds are of one TaskQueue: at the first it has measured nothing yet.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from statistics import quantiles
from typing import Any

from benchmarks.cluster.ledger import Run
from benchmarks.cluster.stage import Stage, stage
from dev.kube import Kube, wait_for

JOBS = 60
SECONDS = 2.0
WORKERS = 20
MAX_QUEUE_WAIT = "10s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """Seconds from the first publish, but `pod_seconds`: of all pods until the last is gone."""

    first_job: float
    drained: float
    p95_wait: float
    pod_seconds: float
    most_workers: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    kube: Kube, *, rounds: int, chance: Random, tell: Callable[[str], None]
) -> tuple[Spike, ...]:
    """So many spikes, with the default policy, each after the last worker of the one before."""
    with stage(kube, "spike") as here:
        here.apply(max=WORKERS, maxQueueWait=MAX_QUEUE_WAIT)
        here.wait_until_declared()
        return tuple([_spike(here, chance=chance, tell=tell) for _ in range(rounds)])


def _spike(here: Stage, *, chance: Random, tell: Callable[[str], None]) -> Spike:
    published = dict[str, float]()
    with here.client() as client:
        time.sleep(2 + chance.uniform(0.0, 1.0))
        for _ in range(JOBS):
            at = time.time()
            published[client.enqueue(here.queue, "work", seconds=SECONDS)] = at
        tell("the spike is published")

    def runs() -> list[Run]:
        return [run for run in here.runs() if run.job in published]

    def done() -> bool:
        return sum(run.ended is not None for run in runs()) >= JOBS

    # Each look is a process in a container of the node that is measured: none before the end can
    # have come.
    time.sleep(JOBS * SECONDS / WORKERS)
    wait_for("all jobs are done", done, seconds=240, every=2.0)
    here.wait_for_end(seconds=600)
    found = runs()
    begin = min(published.values())
    waits = [run.started - published[run.job] for run in found]
    return Spike(
        first_job=round(min(run.started for run in found) - begin, 2),
        drained=round(max(run.ended or 0.0 for run in found) - begin, 2),
        p95_wait=round(quantiles(waits, n=20)[-1], 2),
        pod_seconds=round(here.seen.pod_seconds(since=begin), 1),
        most_workers=max(count for at, count in here.seen.replicas if at >= begin),
    )
