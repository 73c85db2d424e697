"""What a worker costs: time to start, memory, processor time while it has nothing to do."""

import time
from dataclasses import dataclass

from benchmarks.worker import jobs, product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.processes import cpu_seconds, resident_bytes
from benchmarks.worker.spread import Spread, spread

STARTS = 5

IDLE = 40.0
"""Seconds. Processor time is told to 10 ms for each of about five processes."""

SETTLE = 5.0
"""Seconds between the last job and the first look, for what a worker still has to tidy."""

WORN_IN = 2000
"""Jobs before memory is read: a parent that has worked is larger than one that has just started."""

_MEBIBYTE = 2**20
_DEADLINE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Of one worker with two slots on a quorum queue."""

    start_seconds: Spread
    """`python -m longshore.worker` → the broker sees its consumer: what of `container`'s time is
    the worker's own."""

    parent_rss_mib: float
    """Resident memory of the process that talks to the broker, shared pages included."""

    idle_cpu_percent: float
    """Of one core: all the worker's processes together."""

    idle_seconds: float


def measure(broker: Broker, scale: float) -> Footprint:
    """Start workers one after another; let one work, then rest."""
    times = [_start_seconds(broker) for _ in range(max(1, round(STARTS * scale)))]
    with product.running(broker, product.config(prefetch=32)) as worker:
        for number in range(WORN_IN):
            worker.client.enqueue(product.QUEUE, "stamp", job=number)
        worker.diary.await_entries(jobs.STARTED, count=WORN_IN, seconds=_DEADLINE)
        time.sleep(SETTLE)
        pids = worker.session.pids()
        before, since = cpu_seconds(pids), time.monotonic()
        time.sleep(IDLE * scale)
        used, elapsed = cpu_seconds(pids) - before, time.monotonic() - since
        resident = resident_bytes(worker.session.pid)
    return Footprint(
        start_seconds=spread(times),
        parent_rss_mib=resident / _MEBIBYTE,
        idle_cpu_percent=used / elapsed * 100,
        idle_seconds=elapsed,
    )


BOUNDS = (
    Bound(
        "resident memory of the parent", Side.AT_MOST, 40, "MiB", lambda found: found.parent_rss_mib
    ),
    Bound(
        "processor time of an idle worker",
        Side.AT_MOST,
        0.3,
        "% of a core",
        lambda found: found.idle_cpu_percent,
    ),
)


def _start_seconds(broker: Broker) -> float:
    with product.running(broker, product.config()) as worker:
        return worker.consuming_after
