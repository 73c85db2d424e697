"""The workers of TaskQueues, wherever they run.

A *workload* is all workers of one TaskQueue. The app needs five things of the place where they run:

- *list* the workers that are there, and the number that was asked for;
- *ensure* that workers are what the TaskQueue's spec says, and leave their number as it is;
- *scale*: ask for another number of them;
- *retire* a worker: have it be the one that is removed with the next lower number; *spare* undoes
  this;
- *protect* a worker from others who would move it; *unprotect* undoes this.

What is asked beside that helps to find out why workers that should be there are not.

A `DeploymentObject` is what was asked for, with a generation that grows with each change, and a
`Pod` is one worker. An implementation without Kubernetes fills in what it knows of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.watched.world import Key
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.access.passwords import Credentials
from longshore_operator.core.kubernetes.containers import Warned
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling.sight import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedWorkers:
    """What the workers of one TaskQueue are to be."""

    spec: TaskQueueSpec
    timeouts: Timeouts
    heartbeat: float
    """Seconds between two heartbeats of their connections."""

    address: Address
    """Where they connect to; the user in it is the operator's."""

    credentials: Credentials | None
    """What they connect with; None where that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One object that is as it should be."""

    name: str
    """Its kind and name."""

    before: str | None
    """What it said when it was looked at, as a digest; None where there was none."""

    after: str
    """What it says now."""

    def is_repaired(self, known: str | None) -> bool:
        """Whether it had said `known` before, and something else when it was looked at."""
        return known is not None and self.before not in (known, self.after)


class ListedWorkers(Protocol):
    """What is known of all workloads. Answers at once, and may be behind by a moment."""

    def workload(self, key: Key) -> DeploymentObject | None:
        """What was asked for; None where no workers were ever placed."""
        ...

    def workers(self, key: Key) -> tuple[Pod, ...]:
        """The workers that are there, by name."""
        ...

    def remains(self, key: Key) -> tuple[Pod, ...]:
        """Workers that are over and can still say why."""
        ...


class Workloads(ListedWorkers, Protocol):
    """Reads and changes workloads. All calls raise Transient or Invalid."""

    async def ensure(self, owner: Owner, wanted: WantedWorkers) -> Placed:
        """Make the workers what is wanted, and replace those that differ. A new workload has no
        workers until `scale` asks for some."""
        ...

    async def bound_evictions(self, owner: Owner) -> Placed:
        """Bound how many workers others may take away at a time."""
        ...

    def standing(self, key: Key) -> Mapping[str, str]:
        """What the objects of `Placed` say now, by name, as digests. One that is gone is left
        out."""
        ...

    async def scale(
        self,
        key: Key,
        workload: DeploymentObject,
        *,
        to: int,
        ceiling: int,
        before: int | None = None,
        most_workers: int | None = None,
    ) -> Asked:
        """Ask for `to` workers. There are never more than `ceiling`, even while new ones replace
        old ones. Where the number falls, those that were retired are removed first.

        Nothing is changed where another workload has taken the place of this one. The same holds
        where the number asked for is not `before`, or where more than `most_workers` are there,
        if these are given.
        """
        ...

    async def retire(self, key: Key, worker: Pod) -> None:
        """Have this very worker go with the next lower number. Until then it works as before."""
        ...

    async def spare(self, key: Key, worker: Pod) -> None:
        """Have it be as likely to go as any other again."""
        ...

    async def protect(self, key: Key, worker: Pod) -> None:
        """Ask whoever moves workers, such as node autoscalers, to leave this very one alone."""
        ...

    async def unprotect(self, key: Key, worker: Pod) -> None:
        """Let it be moved again."""
        ...

    async def is_there(self, key: Key, worker: Pod) -> bool:
        """Whether this very worker is there, whatever was listed."""
        ...

    async def warnings(self, key: Key, worker: Pod) -> list[Warned]:
        """What is said about a worker that does not get ready."""
        ...

    async def retry(self, key: Key, *, at: str) -> None:
        """Try at once to start workers that could not be started, instead of after a pause.

        `at` is any text that was not given before.
        """
        ...
