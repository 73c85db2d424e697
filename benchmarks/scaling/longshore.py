"""The operator's own `decide`, unchanged, in the simulation's time.

Each look sees the queue as it is and the workers as they were one look ago, as their reports are
that old in a cluster. A cordon is obeyed at once and known one look later.
"""

import math
from dataclasses import dataclass
from typing import Literal

from benchmarks.scaling.fleet import Fleet, Pod, State
from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling import (
    Decision,
    Memory,
    Observation,
    ObservedWorker,
    ServiceTimes,
    decide,
)

LOOK = 1.0


@dataclass(slots=True)
class Longshore:
    """The scaler of one TaskQueue."""

    scaling: Scaling
    phase: float
    _is_begun: bool = False
    _memory: Memory | None = None
    _seen: tuple[ObservedWorker, ...] = ()
    _known: tuple[ObservedWorker, ...] = ()
    _seen_at_change: int = -1
    _known_finished: int = 0
    _refresh_at: float = math.inf

    def next_look(self, now: float) -> float:
        """Every second."""
        if not self._is_begun:
            self._is_begun = True
            return self.phase
        return now + LOOK

    def look(self, fleet: Fleet, now: float) -> None:
        """Observe, decide, act."""
        finished = fleet.finished
        decision = decide(
            self.scaling,
            slots=1,
            observation=Observation(
                ready=len(fleet.queue),
                workers=self._known,
                replicas=len(fleet.pods),
                service=_service(fleet),
                startup=fleet.boot if fleet.booted else None,
                finished=self._known_finished,
            ),
            memory=self._memory,
            now=now,
        )
        self._memory = decision.memory
        self._act(decision, fleet, now)
        self._observe(fleet, now)
        self._known_finished = finished

    def _act(self, decision: Decision, fleet: Fleet, now: float) -> None:
        pods = fleet.pods
        for name in decision.uncordon:
            if name in pods:
                fleet.uncordon(pods[name], now)
        for name in decision.cordon:
            if name in pods:
                fleet.cordon(pods[name])
        if decision.remove:
            fleet.end([pods[name] for name in decision.remove], now)
        elif decision.replicas is not None and decision.replicas > len(pods):
            fleet.add(decision.replicas - len(pods), now)

    def _observe(self, fleet: Fleet, now: float) -> None:
        """Workers as they are now, for the next look; made anew only when one has changed."""
        if fleet.changes == self._seen_at_change and now < self._refresh_at:
            self._known = self._seen
            return
        self._seen = tuple([_worker(pod, now) for pod in fleet.pods.values()])
        self._known = self._seen
        self._seen_at_change = fleet.changes
        young = [
            pod.created for pod in fleet.pods.values() if now - pod.created < self.scaling.min_life
        ]
        self._refresh_at = min(young) + self.scaling.min_life if young else math.inf


def _service(fleet: Fleet) -> ServiceTimes | None:
    count = len(fleet.recent)
    return ServiceTimes(count=count, mean=fleet.recent_sum / count) if count else None


_STATES: dict[State, Literal["starting", "idle", "busy"]] = {
    State.STARTING: "starting",
    State.IDLE: "idle",
    State.BUSY: "busy",
}


def _worker(pod: Pod, now: float) -> ObservedWorker:
    busy = pod.state is State.BUSY
    return ObservedWorker(
        name=pod.name,
        state=_STATES[pod.state],
        held=int(busy),
        busy=int(busy),
        cordoned=pod.cordoned,
        age=now - pod.created,
    )
