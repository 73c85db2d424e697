"""`prefetch: auto`: as fast as a fixed one where jobs are short, and none waits for a long one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.worker import jobs, product
from benchmarks.worker.broker import Broker, QueueType
from benchmarks.worker.checks import Bound, Side
from benchmarks.worker.contenders import PREFETCHES, SLOTS, Cell, Contender, longshore
from benchmarks.worker.drains import drain, sample_of
from benchmarks.worker.errors import RoundSpoiled
from benchmarks.worker.spread import Spread, percentile, spread

DRAINS = 3
BRIEF_JOBS = 8000
"""Of 1 ms, in two slots: four seconds, so that the second in which `auto` still grows counts."""

HARD_LIMIT = 10.0
"""Seconds, as whoever has jobs of 1 ms would set it: `auto` holds no more than could all take their
hard limit before the ack timeout."""

AUTO = longshore("auto", handler="brief", is_auto=True, hard_limit=HARD_LIMIT)
FIXED = longshore("fixed", handler="brief", hard_limit=HARD_LIMIT)

ROUNDS = 10
WARM_UP = 1500
"""Jobs of 1 ms at first: what is held grows as far as it does."""

BEFORE = 5
BEHIND = 24
LONG = 1.5
"""Seconds that the long job takes here. A quick job that had to wait for it would start that late;
one of 60 s shows no more."""

_ROUND = BEFORE + 1 + BEHIND
_DEADLINE = 30.0
_MILLISECONDS = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Automatic:
    """What `prefetch: auto` gives."""

    jobs_per_second: dict[str, Spread] = field(default_factory=dict)
    """Of jobs of 1 ms, by prefetch."""

    behind_ms_p50: float
    behind_ms_max: float
    """Start of quick jobs behind a long one, past their enqueueing and the start of the long."""

    @property
    def share_of_best(self) -> float:
        """Percent of what the best fixed prefetch gives."""
        rates = {name: found.median for name, found in self.jobs_per_second.items()}
        automatic = rates.pop(AUTO.name)
        return automatic / max(rates.values()) * 100


def measure(broker: Broker, scale: float) -> Automatic:
    """Drain queues of brief jobs; then put long jobs among quick ones."""
    delays = list(_all_delays(broker, rounds=max(1, round(ROUNDS * scale))))
    return Automatic(
        jobs_per_second=_rates(broker, drains=max(1, round(DRAINS * scale))),
        behind_ms_p50=percentile(delays, 0.5),
        behind_ms_max=max(delays),
    )


BOUNDS = (
    Bound(
        "prefetch auto: jobs of 1 ms, share of what the best fixed prefetch gives",
        Side.AT_LEAST,
        80,
        "%",
        lambda found: found.share_of_best,
    ),
    Bound(
        "prefetch auto: quick jobs behind a long one start late, worst",
        Side.AT_MOST,
        200,
        "ms",
        lambda found: found.behind_ms_max,
    ),
)


def _rates(broker: Broker, *, drains: int) -> dict[str, Spread]:
    cells = [Cell(queue_type=QueueType.QUORUM, prefetch=prefetch) for prefetch in PREFETCHES]
    runs = {AUTO.name: (AUTO, cells[-1]), **{str(cell.prefetch): (FIXED, cell) for cell in cells}}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(drains):
        for name, (contender, cell) in runs.items():
            rates[name].append(_rate(contender, cell, broker=broker, number=number))
    return {name: spread(found) for name, found in rates.items()}


def _rate(contender: Contender, cell: Cell, *, broker: Broker, number: int) -> float:
    sample = sample_of(contender, cell, broker=broker)
    try:
        found = drain(contender, cell, broker=broker, sample=sample, jobs=BRIEF_JOBS, number=number)
    except RoundSpoiled as fault:
        raise TimeoutError(str(fault)) from None
    return found.jobs_per_second


def _all_delays(broker: Broker, *, rounds: int) -> Iterator[float]:
    settings = product.config(slots=SLOTS, prefetch="auto", hard_limit=HARD_LIMIT)
    with product.running(broker, settings) as worker:
        for _ in range(WARM_UP):
            worker.client.enqueue(product.QUEUE, "pause", seconds=jobs.BRIEF)
        for number in range(rounds):
            yield from _delays(worker, first=number * _ROUND)


def _delays(worker: product.Running, *, first: int) -> Iterator[float]:
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
    for number in sent:
        if number > long:
            yield (started[number] - max(sent[number], started[long])) * _MILLISECONDS
