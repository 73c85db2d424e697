"""The spike that KEDA was measured with on a real cluster: 60 jobs of 2 s at once, no worker."""

from dataclasses import dataclass

from benchmarks.scaling.fleet import Fleet
from benchmarks.scaling.longshore import Longshore
from benchmarks.scaling.traces import Trace
from benchmarks.worker.spread import percentile
from longshore_operator.api.v1alpha1 import Scaling

JOBS, LASTS, MOST, WAIT, BOOT = 60, 2.0, 20, 10.0, 2.0
PHASES = 20
_AT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rush:
    """The worst of 20 runs whose looks fall differently. Seconds."""

    first: float
    """Until the first job begins."""

    drained: float
    """Until the last one ends."""

    p95: float
    pod_seconds: float
    patches: int
    """In which all workers were asked for."""


def measure(*, known: bool) -> Rush:
    """`known`: the same rush has come before, so times are measured; else they are guessed."""
    runs = [_one(phase=phase / PHASES, known=known) for phase in range(PHASES)]
    return Rush(
        first=max(each.first for each in runs),
        drained=max(each.drained for each in runs),
        p95=max(each.p95 for each in runs),
        pod_seconds=max(each.pod_seconds for each in runs),
        patches=max(each.patches for each in runs),
    )


def _one(*, phase: float, known: bool) -> Rush:
    arrivals = (*([1.0] * JOBS if known else []), *([_AT] * JOBS))
    trace = Trace("rush", 2 * _AT, arrivals, (LASTS,) * len(arrivals))
    fleet = Fleet(trace, BOOT, 30.0)
    ended = fleet.run(Longshore(Scaling(max=MOST, max_queue_wait=WAIT), phase=phase))
    waits = [began - _AT for began in fleet.started[-JOBS:]]
    pods = [pod for pod in fleet.all_pods if pod.created >= _AT]
    return Rush(
        first=min(waits),
        drained=max(waits) + LASTS,
        p95=percentile(waits, 0.95),
        pod_seconds=sum((pod.ended or ended) - pod.created for pod in pods),
        patches=len({pod.created for pod in pods}),
    )
