"""How late limits are kept, and how soon a killed child has a successor."""

import os
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.worker import jobs, product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.diary import Entry
from benchmarks.worker.spread import percentile

LIMIT = 0.25
"""Seconds; lateness does not depend on it."""

EVENTS = 120
_TOO_LONG = 60.0
_NANOSECONDS = 1e9
_MILLISECONDS = 1000.0
_DEADLINE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """Milliseconds behind the moment that was due."""

    events: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kills:
    """What a series of jobs past their hard limit showed."""

    hard: Lateness
    """Death of the process behind start + hard limit; the job does not resist SIGTERM."""

    replacement: Lateness
    """Start of the next job, in a new child, behind the death of the one before: forking,
    connecting and handing the job over."""


def measure_kills(broker: Broker, scale: float) -> Kills:
    """Have jobs killed one after another in one slot, the next always at hand."""
    count = round(EVENTS * scale)
    # Two held: the next job waits in the worker, so the broker has no part in the replacement.
    settings = product.config(slots=1, prefetch=2, hard_limit=LIMIT)
    with product.running(broker, settings) as worker:
        for number in range(count + 1):
            worker.client.enqueue(product.QUEUE, "hold", job=number, seconds=_TOO_LONG)
        runs = [watch_run(worker, number) for number in range(count + 1)]
    starts = [entry.at / _NANOSECONDS for entry, _ in runs]
    deaths = [death for _, death in runs]
    return Kills(
        hard=lateness_of(
            [death - start - LIMIT for start, death in zip(starts, deaths, strict=True)]
        ),
        replacement=lateness_of(
            [after - death for death, (_, after) in zip(deaths[:-1], pairwise(starts), strict=True)]
        ),
    )


def measure_soft_limit(broker: Broker, scale: float) -> Lateness:
    """Have sleeping jobs interrupted one after another."""
    count = round(EVENTS * scale)
    settings = product.config(slots=1, prefetch=2, hard_limit=_TOO_LONG, soft_limit=LIMIT)
    with product.running(broker, settings) as worker:
        for number in range(count):
            worker.client.enqueue(product.QUEUE, "hold_softly", job=number, seconds=_TOO_LONG)
        patience = count * (LIMIT + 1)
        ended = worker.diary.await_entries(jobs.INTERRUPTED, count=count, seconds=patience)
        starts = {entry.job: entry.at for entry in worker.diary.entries(jobs.STARTED)}
    return lateness_of([(entry.at - starts[entry.job]) / _NANOSECONDS - LIMIT for entry in ended])


KILL_BOUNDS = (
    Bound("hard kill lateness, p99", Side.AT_MOST, 100, "ms", lambda found: found.hard.p99_ms),
    Bound(
        "death of a child → next job starts in its replacement, p99",
        Side.AT_MOST,
        50,
        "ms",
        lambda found: found.replacement.p99_ms,
        note="more than `ready`: also hands a job over",
    ),
)

SOFT_BOUNDS = (
    Bound("soft limit lateness, p99", Side.AT_MOST, 50, "ms", lambda found: found.p99_ms),
)


def watch_run(worker: product.Running, number: int) -> tuple[Entry, float]:
    """The start of the `number`th run, and when its process died."""
    started = worker.diary.await_entries(jobs.STARTED, count=number + 1, seconds=LIMIT + _DEADLINE)[
        number
    ]
    handle = os.pidfd_open(started.pid)
    try:
        ready, _, _ = select.select([handle], [], [], LIMIT + _DEADLINE)
        death = time.monotonic()
    finally:
        os.close(handle)
    if not ready:
        raise TimeoutError(f"process {started.pid} outlives its limit of {LIMIT} s")
    return started, death


def lateness_of(seconds: Sequence[float]) -> Lateness:
    """A summary of so many times of being late."""
    values = [value * _MILLISECONDS for value in seconds]
    return Lateness(
        events=len(values),
        p50_ms=percentile(values, 0.5),
        p99_ms=percentile(values, 0.99),
        max_ms=max(values),
    )
