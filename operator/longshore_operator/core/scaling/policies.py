"""How the number of workers follows from the work.

A policy is a pure function from a `Situation` to a number with its reasons. Bounds, stability and
the choice of who goes come after it and are the same for all. Others are found by the entry point
`longshore.scaling_policies`.
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
"""Seconds until a job is noticed, and until Kubernetes has noticed that a worker is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a policy may know. Times are in seconds."""

    scaling: Scaling
    ready: int
    """Jobs that wait in the queue."""

    held: int
    """Jobs that workers hold, those that run and those that wait there for a slot."""

    running: int
    """Jobs that run."""

    workers: int
    """Workers asked of Kubernetes now."""

    slots: int
    """Jobs that one worker runs at the same time."""

    service: float
    """What a job takes, on average: measured, or a guess before that."""

    startup: float
    """From a pod's creation until it takes jobs: measured, or a guess before that."""

    arrivals: float
    """Jobs that come in a second, averaged over a minute and a half."""

    stalled: float = 0.0
    """For how long jobs have waited, others have run, and not one has ended."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A policy's answer."""

    workers: int
    why: tuple[str, ...]
    """At least one line."""


class Policy(Protocol):
    """Pure: the same situation gives the same answer; nothing is read, nothing is kept."""

    def __call__(self, situation: Situation, /) -> Wanted:
        """How many workers are wanted, and why."""


def queue_wait(situation: Situation, /) -> Wanted:
    """So many workers that a job begins within `maxQueueWait`, by Little's law."""
    running, horizon = situation.running, horizon_of(situation)
    waiting = situation.ready + max(0, situation.held - running)
    begun_by_one = horizon / situation.service
    coming = situation.arrivals * horizon
    # When none ended in twice the time that one takes on average, those that run are longer.
    begun = running * horizon / max(situation.service, situation.stalled / 2)
    missing = waiting + coming - begun
    # Rounded: half a slot is soon made up for, and part of it is a forecast. A slot that is missing
    # may be missing for the whole length of a job, so workers are rounded up.
    slots = math.floor(max(0.0, running + missing / (1 + begun_by_one)) + 0.5)
    workers = max(math.ceil(slots / situation.slots), int(waiting + running > 0))
    return Wanted(
        workers,
        (
            f"within {horizon:.3g} s {waiting} waiting + {coming:.1f} coming jobs are to begin; "
            f"{running} running slots begin {begun:.1f}, a free one {1 + begun_by_one:.1f}: "
            f"{slots} slots, {workers} workers wanted",
        ),
    )


def horizon_of(situation: Situation) -> float:
    """Seconds that are left to a job that waits once a worker ordered for it now takes jobs."""
    longest = situation.scaling.max_queue_wait
    # Where starting takes all of it, no number of workers is in time; half of it keeps the number
    # sane for the jobs that come later.
    return max(longest - situation.startup - REACTION, longest / 2)


def backlog(situation: Situation, /) -> Wanted:
    """One worker for every `jobsPerWorker` jobs that wait or run."""
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
    """Always `max` workers."""
    count = situation.scaling.max
    return Wanted(count, (f"policy fixed wants scaling.max = {count}",))


def service_of(scaling: Scaling, observation: Observation) -> float:
    """Seconds that a job takes. The guess is `maxQueueWait`: for jobs of that length there is
    neither a worker for each job nor one for all."""
    measured, guess = observation.service, scaling.max_queue_wait
    if measured is None or measured.count <= 0:
        return guess
    weight = measured.count / (measured.count + TRUSTED)
    return max(0.001, measured.mean * weight + guess * (1 - weight))


def startup_of(observation: Observation) -> float:
    """Seconds that a worker takes to start."""
    return PRIOR_STARTUP if observation.startup is None else observation.startup


TRUSTED = 3
"""Jobs whose measured times count as much as the guess."""

BUILT_IN: Mapping[str, Policy] = MappingProxyType(
    {"queueWait": queue_wait, "backlog": backlog, "fixed": fixed}
)
