"""Determines the number of workers from the work.

A policy is a pure function from a `Situation` to a number with its reasons. Limits, stability and
the choice of workers to remove are applied afterwards and are the same for all policies. Others are
found by the entry point group `longshore.scaling_policies`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.kubernetes.obstacles import PRIOR_STARTUP
from longshore_operator.core.scaling.observation import Observation

REACTION = 2.0
"""Seconds until a job is noticed, and until Kubernetes notices that a worker is requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The input of a policy. Times are in seconds."""

    scaling: Scaling
    ready: int
    """Jobs that wait in the queue."""

    held: int
    """Jobs that workers hold: those that run, and those that wait there for a slot."""

    running: int
    """Jobs that run."""

    workers: int
    """Workers that are currently requested from Kubernetes."""

    slots: int
    """Jobs that one worker runs at the same time."""

    service: float
    """How long a job runs on average: measured, or a guess until then."""

    startup: float
    """Time from a pod's creation until it takes jobs: measured, or a guess until then."""

    arrivals: float
    """Jobs that arrive per second, averaged over a minute and a half."""

    stalled: float = 0.0
    """For how long jobs have waited and others have run without one ending."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A policy's answer."""

    workers: int
    why: tuple[str, ...]
    """At least one line."""


class Policy(Protocol):
    """A pure function: the same situation gives the same answer. It reads and keeps nothing."""

    def __call__(self, situation: Situation, /) -> Wanted:
        """Return how many workers are wanted, and why."""


def queue_wait(situation: Situation, /) -> Wanted:
    """Return as many workers as are needed for jobs to begin within `maxQueueWait`, by Little's
    law."""
    running, horizon = situation.running, horizon_of(situation)
    waiting = situation.ready + max(0, situation.held - running)
    begun_by_one = horizon / situation.service
    coming = situation.arrivals * horizon
    # If none has ended in twice the average time, the running ones take longer than the average.
    begun = running * horizon / max(situation.service, situation.stalled / 2)
    missing = waiting + coming - begun
    # Slots are rounded: half a slot is soon made up for, and part of it is a forecast. Workers are
    # rounded up: a missing slot may be missing for the whole length of a job.
    slots = math.floor(max(0.0, running + missing / (1 + begun_by_one)) + 0.5)
    workers = max(math.ceil(slots / situation.slots), int(waiting + running > 0))
    return Wanted(
        workers,
        (
            f"{waiting} waiting + {coming:.1f} coming jobs are to begin within {horizon:.3g} s; "
            f"{running} busy slots begin {begun:.1f}, each free one {1 + begun_by_one:.1f}: "
            f"{slots} slots, {workers} workers wanted",
        ),
    )


def horizon_of(situation: Situation) -> float:
    """Return how many seconds a waiting job has left when a worker requested now takes jobs."""
    longest = situation.scaling.max_queue_wait
    # If starting takes all of the time, no number of workers is in time; half of the time keeps the
    # number reasonable for later jobs.
    return max(longest - situation.startup - REACTION, longest / 2)


def backlog(situation: Situation, /) -> Wanted:
    """Return one worker for every `jobsPerWorker` jobs that wait or run."""
    per_worker = situation.scaling.jobs_per_worker or situation.slots
    workers = math.ceil((situation.ready + situation.held) / per_worker)
    return Wanted(
        workers,
        (
            f"{situation.ready} waiting + {situation.held} running, {per_worker} per worker: "
            f"{workers} wanted",
        ),
    )


def fixed(situation: Situation, /) -> Wanted:
    """Always return `max` workers."""
    count = situation.scaling.max
    return Wanted(count, (f"policy fixed wants scaling.max = {count}",))


def service_of(scaling: Scaling, observation: Observation) -> float:
    """Return how many seconds a job runs. The guess is `maxQueueWait`, which leads neither to a
    worker for each job nor to one worker for all."""
    measured, guess = observation.service, scaling.max_queue_wait
    if measured is None or measured.count <= 0:
        return guess
    weight = measured.count / (measured.count + TRUSTED)
    return max(0.001, measured.mean * weight + guess * (1 - weight))


def startup_of(observation: Observation) -> float:
    """Return how many seconds a worker takes to start."""
    return PRIOR_STARTUP if observation.startup is None else observation.startup


TRUSTED = 3
"""Number of jobs whose measured times count as much as the guess."""

BUILT_IN: Mapping[str, Policy] = MappingProxyType(
    {"queueWait": queue_wait, "backlog": backlog, "fixed": fixed}
)
