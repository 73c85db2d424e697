"""How many workers there should be. The reasons are part of the answer.

Missing is unknown, never zero, and unknown holds. Workers are only ever taken away when every one
of them has proved that it is idle.
"""

import math
from dataclasses import dataclass
from typing import Literal

from longshore_operator.api.v1alpha1 import Scaling, ScalingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What is known of one worker that has not been asked to end."""

    name: str
    state: Literal["idle", "busy", "starting", "unknown"]
    """`starting`: no process yet, so it holds nothing. `unknown`: a process, but no recent word."""

    held: int = 0
    """Jobs that it holds unacked."""

    settled: int = 0
    """Jobs that it has finished, well or badly, since it started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the scaler sees of one TaskQueue."""

    ready: int | None
    """Jobs that wait in the queue; None is unknown."""

    workers: tuple[Worker, ...]
    replicas: int | None
    """Workers asked of Kubernetes now; None is unknown."""

    @property
    def held(self) -> int:
        """Jobs that workers are known to hold."""
        return sum(worker.held for worker in self.workers)

    @property
    def settled(self) -> int:
        """Grows, or changes, whenever a job was finished."""
        return sum(worker.settled for worker in self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idleness:
    """Since when nothing happened, in seconds of the caller's clock."""

    since: float
    settled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The number of workers to have; None is: leave it as it is, whatever it is."""

    replicas: int | None
    why: tuple[str, ...]
    holds: str | None = None
    """One word for why the number is left alone: `Paused`, `DepthUnknown`, `DeploymentUnknown`."""

    idleness: Idleness | None = None
    """To be passed to the next decision."""


def decide(
    scaling: Scaling,
    *,
    slots: int,
    observation: Observation,
    idleness: Idleness | None,
    now: float,
) -> Decision:
    """How many workers `scaling` wants for what is observed.

    `slots` is what one worker runs at the same time; `idleness` comes from the decision before.
    """
    if scaling.paused:
        return _hold("Paused", "scaling.paused is true: the number of workers is left alone")
    if observation.replicas is None:
        return _hold("DeploymentUnknown", "the Deployment is not known yet")
    if observation.ready is None:
        return _hold("DepthUnknown", "the number of waiting jobs is unknown, which is not 0")
    idleness = _idleness(observation, before=idleness, now=now)
    wanted, why = _wanted(scaling, slots=slots, observation=observation)
    bounded = min(max(wanted, scaling.min), scaling.max)
    if bounded > wanted:
        why = (*why, f"scaling.min raises it to {bounded}")
    elif bounded < wanted:
        why = (*why, f"scaling.max lowers it to {bounded}")
    if bounded >= observation.replicas:
        return Decision(replicas=bounded, why=why, idleness=idleness)
    obstacle = _obstacle(scaling, observation=observation, idleness=idleness, now=now)
    if obstacle:
        why = (*why, f"stays at {observation.replicas}: {obstacle}")
        return Decision(replicas=observation.replicas, why=why, idleness=idleness)
    why = (*why, f"all workers have been idle for {scaling.idle_grace:g} s")
    return Decision(replicas=bounded, why=why, idleness=idleness)


def _hold(reason: str, why: str) -> Decision:
    return Decision(replicas=None, why=(why,), holds=reason)


def _wanted(
    scaling: Scaling, *, slots: int, observation: Observation
) -> tuple[int, tuple[str, ...]]:
    if scaling.policy is ScalingPolicy.FIXED:
        return scaling.max, (f"policy fixed wants scaling.max = {scaling.max}",)
    ready, held = observation.ready or 0, observation.held
    per_worker = scaling.jobs_per_worker or slots
    wanted = math.ceil((ready + held) / per_worker)
    return wanted, (f"{ready} waiting + {held} running, {per_worker} per worker: {wanted} wanted",)


def _idleness(observation: Observation, *, before: Idleness | None, now: float) -> Idleness | None:
    if observation.ready or any(w.state in ("busy", "unknown") for w in observation.workers):
        return None
    # Jobs that came and went between two looks are work too.
    if before is None or before.settled != observation.settled:
        return Idleness(since=now, settled=observation.settled)
    return before


def _obstacle(
    scaling: Scaling, *, observation: Observation, idleness: Idleness | None, now: float
) -> str | None:
    """Why no worker may be taken away now."""
    for state, saying in (("busy", "busy"), ("unknown", "silent, and silence is not idleness")):
        count = sum(worker.state == state for worker in observation.workers)
        if count:
            return f"{count} of {len(observation.workers)} workers {saying}"
    if idleness is None:
        return f"{observation.ready} jobs are waiting"
    left = math.ceil(idleness.since + scaling.idle_grace - now)
    if left > 0:
        return f"idle for less than scaling.idleGrace = {scaling.idle_grace:g} s"
    return None
