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
    """What the other loops may know of a TaskQueue."""

    state: ScalingState
    silent: tuple[str, ...] = ()
    """Ready workers that have reported nothing for a while."""


@dataclass(slots=True, kw_only=True)
class ScalingRecord:
    """The state of one TaskQueue, written by the scaling loop alone."""

    state: ScalingState
    silent: tuple[str, ...] = ()
    is_acting: bool = False
    """Whether a decision is being carried out; nothing new is decided until that has ended."""

    is_asking: bool = False
    """Whether a query is under way about pods that do not become ready."""

    words: Mapping[str, Trouble] = field(default_factory=dict)
    """The reasons found why pods are not ready, by uid."""

    retried_at: float = -inf
    """When Kubernetes was last told to create missing pods at once."""

    @property
    def seen(self) -> Scaled:
        """What the other loops may know of the TaskQueue now."""
        return Scaled(state=self.state, silent=self.silent)


def begun(task_queue: TaskQueueObject, *, since: int) -> ScalingRecord:
    """Return the first record of a TaskQueue, which continues the counts in its status. `since` is
    the present in ms since the epoch."""
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
