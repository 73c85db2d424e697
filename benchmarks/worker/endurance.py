"""A job far longer than the heartbeat: the connection outlives it, and it runs once."""

from dataclasses import dataclass

from benchmarks.worker import jobs, product
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Side

HEARTBEAT = 5.0

JOB = 30.0
"""Seconds. RabbitMQ closes a connection after three heartbeats without a byte. A job of 20 minutes,
for real: `make bench-endurance`."""

NAME = "longshore-worker"
"""How a worker's connections call themselves."""

_DEADLINE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endurance:
    """What became of the worker's connections during one long job in each slot."""

    heartbeat_seconds: float
    job_seconds: float
    connections_lost: int
    extra_runs: int
    """Runs beyond one for each job: what a lost connection would lead to."""


def measure(broker: Broker, scale: float) -> Endurance:
    """Fill both slots with long jobs, one blocking call each."""
    job_seconds = JOB * scale
    settings = product.config(slots=2, heartbeat=HEARTBEAT, hard_limit=job_seconds * 2)
    with product.running(broker, settings) as worker:
        before = broker.connections(worker.vhost.name, named=NAME)
        for number in range(2):
            worker.client.enqueue(product.QUEUE, "hold", job=number, seconds=job_seconds)
        worker.diary.await_entries(jobs.ENDED, count=2, seconds=job_seconds + _DEADLINE)
        after = broker.connections(worker.vhost.name, named=NAME)
        runs = len(worker.diary.entries(jobs.STARTED))
    return Endurance(
        heartbeat_seconds=HEARTBEAT,
        job_seconds=job_seconds,
        connections_lost=len(before - after),
        extra_runs=runs - 2,
    )


BOUNDS = (
    Bound(
        f"job of many heartbeats of {HEARTBEAT:g} s: connections lost and jobs repeated",
        Side.AT_MOST,
        0,
        "of either",
        lambda found: found.connections_lost + found.extra_runs,
    ),
)
