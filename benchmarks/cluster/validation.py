"""The same load on a real cluster and in the simulator of `make bench-scaling`: do they agree?"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import median
from typing import Any

from benchmarks.cluster.ledger import Run
from benchmarks.cluster.stage import Seen, Stage, stage
from benchmarks.scaling.fleet import Fleet
from benchmarks.scaling.longshore import Longshore
from benchmarks.scaling.traces import Trace, short
from benchmarks.worker.spread import percentile
from dev.kube import Kube, wait_for
from longshore import Client
from longshore_operator.api.v1alpha1 import Scaling

PHASES = 20
"""Simulations whose looks fall differently; a real operator's phase is not known."""

WAITED = 0.3
"""Seconds; a worker whose first job had waited so long took it when it could take any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Waits and spans in seconds."""

    p50: float
    p95: float
    longest: float
    pod_seconds: float
    starts: int
    most_workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One load, run twice."""

    jobs: int
    boot: float
    """Seconds from a pod's creation until it took a job that waited: the median, for both."""

    real: Outcome
    simulated: Outcome
    """Medians over the phases."""

    simulations: Sequence[Outcome]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(kube: Kube, *, chance: Random, tell: Callable[[str], None]) -> Found:
    """With the default settings."""
    trace = short(chance)
    with stage(kube, "validation") as here:
        here.apply()
        here.wait_until_declared()
        with here.client() as client:
            tell(f"{len(trace.arrivals)} jobs in {trace.duration:g} s")
            began, published = _publish(trace, client, here)
        _wait_until_done(here, jobs=len(published))
        here.wait_for_end(seconds=600)
        runs = here.runs()
        boot = _boot(runs, published, here.seen)
        real = _real(runs, published, here.seen)
    arrivals = tuple(at - began for at in published.values())
    simulations = [
        _simulated(Trace(trace.name, trace.duration, arrivals, trace.service), boot, phase / PHASES)
        for phase in range(PHASES)
    ]
    return Found(
        jobs=len(arrivals),
        boot=round(boot, 2),
        real=real,
        simulated=_middle(simulations),
        simulations=simulations,
    )


def _publish(trace: Trace, client: Client, here: Stage) -> tuple[float, dict[str, float]]:
    """When it began, and when each job was published; seconds since the epoch."""
    began, published = time.time(), dict[str, float]()
    for due, seconds in zip(trace.arrivals, trace.service, strict=True):
        time.sleep(max(0.0, began + due - time.time()))
        at = time.time()
        published[client.enqueue(here.queue, "work", seconds=seconds)] = at
    return began, published


def _wait_until_done(here: Stage, *, jobs: int) -> None:
    def done() -> bool:
        return sum(run.ended is not None for run in here.runs()) >= jobs

    wait_for(f"{jobs} jobs are done", done, seconds=240, every=1.0)


def _boot(runs: Sequence[Run], published: Mapping[str, float], seen: Seen) -> float:
    first = dict[str, Run]()
    for run in runs:  # in order of their starts
        first.setdefault(run.pod, run)
    return median(
        run.started - seen.born[pod]
        for pod, run in first.items()
        if run.started - published[run.job] > WAITED
    )


def _real(runs: Sequence[Run], published: Mapping[str, float], seen: Seen) -> Outcome:
    waits = [run.started - published[run.job] for run in runs]
    return Outcome(
        p50=round(percentile(waits, 0.5), 2),
        p95=round(percentile(waits, 0.95), 2),
        longest=round(max(waits), 2),
        pod_seconds=round(seen.pod_seconds(), 1),
        starts=len(seen.born),
        most_workers=max(count for _, count in seen.replicas),
    )


def _simulated(trace: Trace, boot: float, phase: float) -> Outcome:
    fleet = Fleet(trace, boot, 60.0)
    ended = fleet.run(Longshore(Scaling(), phase=phase))
    waits = [began - due for began, due in zip(fleet.started, trace.arrivals, strict=True)]
    lives = [(pod.created, pod.ended or ended) for pod in fleet.all_pods]
    return Outcome(
        p50=round(percentile(waits, 0.5), 2),
        p95=round(percentile(waits, 0.95), 2),
        longest=round(max(waits), 2),
        pod_seconds=round(sum(gone - created for created, gone in lives), 1),
        starts=len(lives),
        most_workers=max(sum(created <= at < gone for created, gone in lives) for at, _ in lives),
    )


def _middle(outcomes: Sequence[Outcome]) -> Outcome:
    fields = [asdict(each) for each in outcomes]
    return Outcome(**{name: median(each[name] for each in fields) for name in fields[0]})
