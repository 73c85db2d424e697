"""The workers of TaskQueues, wherever they run.

A *workload* is all workers of one TaskQueue. The app needs five things of the place where they run:

- *list* the existing workers, and the number that was requested;
- *ensure* that the workers match the TaskQueue's spec, without a change of their number;
- *scale*: request another number of workers;
- *retire* a worker, so that it is the one that is removed with the next lower number; *spare*
  undoes this;
- *protect* a worker from others that would move it; *unprotect* undoes this.

The remaining calls help to find out why workers that should run do not.

A `DeploymentObject` is what was requested, with a generation that grows with each change, and a
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
    """The desired properties of one TaskQueue's workers."""

    spec: TaskQueueSpec
    timeouts: Timeouts
    heartbeat: float
    """Seconds between two heartbeats of their connections."""

    address: Address
    """Where they connect. Its user is the operator's, not theirs."""

    credentials: Credentials | None
    """The credentials they connect with; None while these are unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One object that is as it should be, after `ensure` or `bound_evictions`."""

    name: str
    """Its kind and name."""

    before: str | None
    """A digest of what it said before the call; None if it did not exist."""

    after: str
    """A digest of what it says now."""

    def is_repaired(self, known: str | None) -> bool:
        """Return whether the object said `known` once and was found to say something else."""
        return known is not None and self.before not in (known, self.after)


class ListedWorkers(Protocol):
    """What is known of all workloads. Answers at once, perhaps with data that is a moment old."""

    def workload(self, key: Key) -> DeploymentObject | None:
        """Return what was requested; None if no workers were ever placed."""
        ...

    def workers(self, key: Key) -> tuple[Pod, ...]:
        """Return the existing workers, sorted by name."""
        ...

    def remains(self, key: Key) -> tuple[Pod, ...]:
        """Return the workers that have ended but can still report why."""
        ...


class Workloads(ListedWorkers, Protocol):
    """Reads and changes workloads. All calls raise Transient or Invalid."""

    async def ensure(self, owner: Owner, wanted: WantedWorkers) -> Placed:
        """Make the workers match `wanted`, and replace those that differ. A new workload has no
        workers until `scale` requests some."""
        ...

    async def bound_evictions(self, owner: Owner) -> Placed:
        """Limit how many workers others may evict at a time."""
        ...

    def standing(self, key: Key) -> Mapping[str, str]:
        """Return the digests of what the objects of `Placed` say now, by name. An object that is
        gone is left out."""
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
        """Request `to` workers. There are never more than `ceiling`, even while new ones replace
        old ones. If the number falls, retired workers are removed first.

        Nothing is changed if another workload has replaced this one. The same holds if `before` is
        given and the requested number differs from it, or if `most_workers` is given and more
        workers exist.
        """
        ...

    async def retire(self, key: Key, worker: Pod) -> None:
        """Have this very worker removed with the next lower number. It works on until then."""
        ...

    async def spare(self, key: Key, worker: Pod) -> None:
        """Undo `retire`: make this worker as likely to be removed as any other."""
        ...

    async def protect(self, key: Key, worker: Pod) -> None:
        """Ask everything that moves workers, such as node autoscalers, to leave this one alone."""
        ...

    async def unprotect(self, key: Key, worker: Pod) -> None:
        """Undo `protect`."""
        ...

    async def is_there(self, key: Key, worker: Pod) -> bool:
        """Return whether this very worker exists, regardless of what was listed."""
        ...

    async def warnings(self, key: Key, worker: Pod) -> list[Warned]:
        """Return the warnings about a worker that does not become ready."""
        ...

    async def retry(self, key: Key, *, at: str) -> None:
        """Try again at once, without a pause, to start workers that could not be started.

        `at` is any text that no earlier call has used.
        """
        ...
