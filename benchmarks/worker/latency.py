"""Enqueue → handler start while nothing else is to be done."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.worker import jobs, product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.spread import percentile

INTERVAL = 0.02
"""Seconds between jobs: each finds the worker idle."""

WARM_UP = 20
JOBS = 1000
_DEADLINE = 30.0
_MILLISECONDS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From the call of `Client.enqueue` to the first line of the handler, on a quorum queue."""

    jobs: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def measure(broker: Broker, scale: float) -> Latency:
    """Send jobs one by one to an idle worker with two slots."""
    count = round(JOBS * scale)
    with product.running(broker, product.config()) as worker:
        sent = [_send(worker, number) for number in range(WARM_UP + count)]
        started = worker.diary.await_entries(jobs.STARTED, count=len(sent), seconds=_DEADLINE)
    return _summary([entry.at - sent[entry.job] for entry in started if entry.job >= WARM_UP])


BOUNDS = (
    Bound("enqueue → handler start, idle, p50", Side.AT_MOST, 3, "ms", lambda found: found.p50_ms),
    Bound("enqueue → handler start, idle, p99", Side.AT_MOST, 15, "ms", lambda found: found.p99_ms),
)


def _send(worker: product.Running, number: int) -> int:
    time.sleep(INTERVAL)
    now = time.monotonic_ns()
    worker.client.enqueue(product.QUEUE, "stamp", job=number)
    return now


def _summary(nanoseconds: Sequence[int]) -> Latency:
    values = [value * _MILLISECONDS for value in nanoseconds]
    return Latency(
        jobs=len(values),
        p50_ms=percentile(values, 0.5),
        p99_ms=percentile(values, 0.99),
        max_ms=max(values),
    )
