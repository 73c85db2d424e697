"""What the scaler sees of one TaskQueue. Missing is unknown, never zero."""

from dataclasses import dataclass
from typing import Literal

from longshore_operator.core.workers.recent import ServiceTimes


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedWorker:
    """What is known of one worker that has not been asked to end."""

    name: str
    state: Literal["idle", "busy", "starting", "unknown"]
    """`starting`: no process yet, so it holds nothing. `unknown`: a process, but no recent word."""

    held: int = 0
    """Jobs that it holds unacked."""

    settled: int = 0
    """Jobs that it has finished, well or badly, since it started."""

    cordoned: bool = False
    """It said that it takes no new jobs until it is uncordoned."""

    age: float | None = None
    """Seconds since its pod was created."""

    slots: int = 1
    busy: int = 0
    """Slots with a running job. 0 while the state is `busy` is: as many as it holds jobs."""

    ready: bool = True
    """Kubernetes counts it as ready. Of unready ones it takes any, whatever their cost is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the scaler sees of one TaskQueue."""

    ready: int | None
    """Jobs that wait in the queue; None is unknown."""

    workers: tuple[ObservedWorker, ...]
    replicas: int | None
    """Workers asked of Kubernetes now; None is unknown."""

    service: ServiceTimes | None = None
    startup: float | None = None
    """Seconds from a pod's creation until it consumes, less what it waited for a CPU, as measured
    of recent ones."""

    quickest: float | None = None
    """The shortest of those."""

    unseen: int = 0
    """Workers that report though no pod of theirs is known: the watch is behind."""

    is_rolling: bool = False
    """Pods of an older template are there, or may be: Kubernetes chooses which of them go."""

    finished: int | None = None
    """Attempts that ended since the operator counts, of all workers, gone ones too; it only grows.
    With it arrivals are counted exactly; without it, from the present workers' own counters."""

    @property
    def podless(self) -> int:
        """Replicas without a pod: Kubernetes has not made one yet, or refuses to."""
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
        """Grows, or changes, whenever a job was finished."""
        return sum([worker.settled for worker in self.workers])
