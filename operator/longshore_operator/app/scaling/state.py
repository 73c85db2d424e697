"""What the scaling loop remembers of a TaskQueue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """What the other loops may know of it."""

    state: ScalingState
    silent: tuple[str, ...] = ()
    """Ready workers that have reported nothing for a while."""


@dataclass(slots=True, kw_only=True)
class ScalingRecord:
    """One TaskQueue's, written by the scaling loop alone."""

    state: ScalingState
    silent: tuple[str, ...] = ()
    is_acting: bool = False
    """A decision is being carried out; until that has ended, nothing new is decided."""

    is_asking: bool = False
    """Somebody is being asked why pods do not get ready."""

    words: Mapping[str, Trouble] = field(default_factory=dict)
    """What is said of pods that are not ready, by uid."""

    retried_at: float = -inf
    """When Kubernetes was last asked to make missing pods at once."""

    @property
    def seen(self) -> Scaled:
        """What the other loops may know of it now."""
        return Scaled(state=self.state, silent=self.silent)


def begun(task_queue: TaskQueueObject, *, since: int) -> ScalingRecord:
    """The first record of a TaskQueue. It goes on counting from its status; `since` is the present
    in ms since the epoch."""
    jobs = task_queue.status.jobs
    tally = Tally(
        since=since,
        succeeded=jobs.succeeded if jobs else 0,
        failed=jobs.failed if jobs else 0,
    )
    return ScalingRecord(
        state=ScalingState(
            tally=tally, recent=Recent(since=since), dead=jobs.dead if jobs else None
        )
    )
