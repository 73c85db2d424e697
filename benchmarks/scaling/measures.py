"""What one run of the simulation says."""

from dataclasses import dataclass

import numpy as np

from benchmarks.scaling.fleet import Fleet

SLO = 30.0
"""Longest wait that is no miss, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Of one run. Waits are until a job's first start."""

    jobs: float
    """Whole, unless it is a mean."""

    misses: float
    """Percent of jobs that waited longer than the SLO."""

    p50: float
    p95: float
    p99: float
    under: float
    """θU: demand that no pod was there for, as a share of all demand. Demand is the jobs that would
    run had each begun when it came."""

    over: float
    """θO: pods beyond the demand, as a share of all demand."""

    pod_hours: float
    """From order to end, so starting and ending pods too."""

    killed: float
    wasted: float
    """Percent of all work that was done in vain."""

    starts: float
    """Pods ordered in an hour."""


def measured(fleet: Fleet, *, ended: float) -> Measures:
    """The measures of a fleet that has run until `ended`."""
    arrivals = np.array(fleet.trace.arrivals)
    service = np.array(fleet.trace.service)
    waits = np.array(fleet.started) - arrivals
    p50, p95, p99 = (float(each) for each in np.percentile(waits, (50, 95, 99), method="higher"))
    lives = [
        (pod.created, pod.up, ended if pod.ended is None else min(pod.ended, ended))
        for pod in fleet.all_pods
    ]
    served = [(up, gone) for _, up, gone in lives if up < gone]
    under, over = _accuracy(arrivals, arrivals + service, served)
    work = float(service.sum())
    return Measures(
        jobs=len(arrivals),
        misses=100 * float((waits > SLO).mean()),
        p50=p50,
        p95=p95,
        p99=p99,
        under=under,
        over=over,
        pod_hours=sum(gone - created for created, _, gone in lives) / 3600,
        killed=fleet.killed,
        wasted=100 * fleet.wasted / (work + fleet.wasted),
        starts=len(lives) / (ended / 3600),
    )


def _accuracy(
    begins: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    ends: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    served: list[tuple[float, float]],
) -> tuple[float, float]:
    ups = np.array([up for up, _ in served])
    gones = np.array([gone for _, gone in served])
    times = np.concatenate((begins, ends, ups, gones))
    changes = np.concatenate(
        (np.ones(len(begins)), -np.ones(len(ends)), -np.ones(len(ups)), np.ones(len(gones)))
    )
    order = np.argsort(times, kind="stable")
    gap = np.cumsum(changes[order])[:-1]  # demand less supply
    lasts = np.diff(times[order])
    demand = float((ends - begins).sum())
    return (
        float((np.maximum(gap, 0) * lasts).sum()) / demand,
        float((np.maximum(-gap, 0) * lasts).sum()) / demand,
    )
