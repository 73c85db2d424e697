"""What `decide` costs: a look at 1,000 TaskQueues of which 50 have work."""

import gc
import time
from dataclasses import dataclass
from statistics import median

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling import (
    Memory,
    Observation,
    ObservedWorker,
    ServiceTimes,
    decide,
)

QUEUES, ACTIVE, WORKERS = 1000, 50, 10
ROUNDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Medians of CPU time: what else the machine does is not counted."""

    idle_us: float
    """One decision for a TaskQueue without work or workers."""

    active_us: float
    """One decision for a TaskQueue with ten workers, half of them busy."""

    tick_ms: float
    """All thousand."""


def measure() -> Cost:
    """On this machine, as it is."""
    scaling = Scaling(max=100)
    nothing = Observation(ready=0, workers=(), replicas=0)
    workers = tuple(
        ObservedWorker(name=f"w{n}", state="busy" if n % 2 else "idle", held=n % 2, age=60.0 + n)
        for n in range(WORKERS)
    )
    work = Observation(
        ready=3,
        workers=workers,
        replicas=WORKERS,
        service=ServiceTimes(count=100, mean=4.0),
        startup=3.0,
        finished=100,
    )
    idle = _seconds(scaling, nothing)
    active = _seconds(scaling, work)
    return Cost(
        idle_us=idle * 1e6,
        active_us=active * 1e6,
        tick_ms=1e3 * (idle * (QUEUES - ACTIVE) + active * ACTIVE),
    )


def _seconds(scaling: Scaling, observation: Observation) -> float:
    memory: Memory | None = None
    taken, now = [], 0.0
    gc.disable()
    try:
        for _ in range(ROUNDS):
            start = time.process_time()
            for _ in range(QUEUES):
                now += 1.0
                memory = decide(
                    scaling, slots=1, observation=observation, memory=memory, now=now
                ).memory
            taken.append((time.process_time() - start) / QUEUES)
    finally:
        gc.enable()
    return median(taken)
