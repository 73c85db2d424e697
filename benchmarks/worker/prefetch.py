"""What prefetch must not cost: a long job holds back none of the quick ones behind it."""

import time
from dataclasses import dataclass

from pydantic import ValidationError

from benchmarks.worker import jobs, product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.spread import percentile
from longshore.contract.config import WorkerConfig

PREFETCH = 32
ROUNDS = 10
BEFORE = 5
BEHIND = 24
LONG = 1.5
"""Seconds that the long job takes here. A quick job that had to wait for it would start that late;
one of 60 s shows no more."""

_ROUND = BEFORE + 1 + BEHIND
_DEADLINE = 30.0
_MILLISECONDS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Start of quick jobs behind a long one, past their enqueueing and the start of the long."""

    prefetch: int
    jobs: int
    p50_ms: float
    max_ms: float


def measure(broker: Broker, scale: float) -> Holding:
    """Enqueue quick, long, quick to a worker with two slots, again and again."""
    delays: list[float] = []
    with product.running(broker, product.config(slots=2, prefetch=PREFETCH)) as worker:
        for number in range(max(1, round(ROUNDS * scale))):
            delays += _delays(worker, first=number * _ROUND)
    return Holding(
        prefetch=PREFETCH,
        jobs=len(delays),
        p50_ms=percentile(delays, 0.5),
        max_ms=max(delays),
    )


def _has_auto() -> bool:
    fields = {"queue": product.QUEUE, "handlers": ["m"], "hard_limit": "1m", "ack_timeout": "5m"}
    try:
        WorkerConfig.model_validate({**fields, "prefetch": "auto"})
    except ValidationError:
        return False
    return True


BOUNDS = (
    Bound(
        f"quick jobs behind a long one start late, worst, prefetch {PREFETCH}",
        Side.AT_MOST,
        200,
        "ms",
        lambda found: found.max_ms,
    ),
    Bound(
        "prefetch auto over the best fixed prefetch, 1 ms jobs",
        Side.AT_LEAST,
        80,
        "%",
        lambda _: None,
        note="its measurement is still to be written"
        if _has_auto()
        else "not built yet: the worker's configuration takes no `auto`",
    ),
)


def _delays(worker: product.Running, *, first: int) -> list[float]:
    long = first + BEFORE
    sent = {}
    for number in range(first, long + 1 + BEHIND):
        sent[number] = time.monotonic_ns()
        if number == long:
            worker.client.enqueue(product.QUEUE, "hold", job=number, seconds=LONG)
        else:
            worker.client.enqueue(product.QUEUE, "stamp", job=number)
    started = {
        entry.job: entry.at
        for entry in worker.diary.await_entries(
            jobs.STARTED, count=long + 1 + BEHIND, seconds=_DEADLINE
        )
    }
    # Else the next round would find one slot taken.
    worker.diary.await_entries(jobs.ENDED, count=first // _ROUND + 1, seconds=_DEADLINE)
    return [
        (started[number] - max(sent[number], started[long])) * _MILLISECONDS
        for number in sent
        if number > long
    ]
