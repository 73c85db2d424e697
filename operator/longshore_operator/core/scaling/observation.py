"""What the scaler sees of one TaskQueue. A missing number is unknown, never zero."""

from dataclasses import dataclass
from typing import Literal

from longshore_operator.core.workers.recent import ServiceTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedWorker:
    """What is known of one worker that is not being terminated."""

    name: str
    state: Literal["idle", "busy", "starting", "unknown"]
    """`starting`: it has no process yet, so it holds no job. `unknown`: it has a process, but has
    not reported recently."""

    held: int = 0
    """Jobs that it holds unacked."""

    settled: int = 0
    """Jobs that it has finished, whatever the outcome, since it started."""

    cordoned: bool = False
    """It has confirmed that it takes no new jobs until it is uncordoned."""

    age: float | None = None
    """Seconds since its pod was created."""

    slots: int = 1
    busy: int = 0
    """Slots with a running job. If it is 0 while the state is `busy`, as many are busy as the
    worker holds jobs."""

    ready: bool = True
    """Kubernetes counts it as ready. Kubernetes removes unready ones first, whatever their
    deletion cost is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the scaler sees of one TaskQueue."""

    ready: int | None
    """Jobs that wait in the queue; None is unknown."""

    workers: tuple[ObservedWorker, ...]
    replicas: int | None
    """Workers that are currently requested from Kubernetes; None is unknown."""

    service: ServiceTimes | None = None
    startup: float | None = None
    """Mean seconds from a pod's creation until it consumes, without time spent waiting for a CPU,
    measured on recent pods."""

    quickest: float | None = None
    """The shortest of these times."""

    unseen: int = 0
    """Workers that report although no pod is known for them, because the watch is behind."""

    is_rolling: bool = False
    """There are, or may be, pods of an older template: Kubernetes chooses which pods to remove."""

    finished: int | None = None
    """Attempts that ended since the operator began to count, over all workers, including those that
    have ended; it only grows. With it, arrivals are counted exactly; without it, by the counters of
    the present workers."""

    @property
    def podless(self) -> int:
        """Replicas without a pod: Kubernetes has not created one yet, or refuses to."""
        return max(0, (self.replicas or 0) - len(self.workers))

    @property
    def held(self) -> int:
        """Jobs that workers are known to hold."""
        return sum([worker.held for worker in self.workers])

    @property
    def running(self) -> int:
        """Jobs that run; workers may hold more than they have slots for."""
        return sum(
            [
                worker.busy or min(worker.held, worker.slots)
                for worker in self.workers
                if worker.state == "busy"
            ]
        )

    @property
    def settled(self) -> int:
        """A number that changes whenever a job was finished."""
        return sum([worker.settled for worker in self.workers])
