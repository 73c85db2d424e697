"""Brings a TaskQueue's workers to the place where they run, once its queue exists."""

from collections.abc import Callable
from dataclasses import dataclass

from longshore_operator.app.ports.kubernetes import Events
from longshore_operator.app.ports.workloads import WantedWorkers, Workloads
from longshore_operator.app.reconciling.claims import refuse_gone
from longshore_operator.app.reconciling.events import tell_drift
from longshore_operator.app.reconciling.patrol import RESYNC
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.errors import Invalid, OperatorError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadReconciler:
    """The workload part of reconciling. `clock` is monotonic."""

    world: World
    workloads: Workloads
    events: Events
    clock: Callable[[], float]

    def has_workers(self, owner: Owner) -> bool:
        """Return whether any workers are requested."""
        workload = self.workloads.workload((owner.namespace, owner.name))
        return workload is not None and workload.replicas > 0

    async def reconcile(
        self,
        task_queue: TaskQueueObject,
        *,
        state: Reconciliation,
        session: Session,
        is_repair: bool,
    ) -> None:
        """Make the workers match the spec, after `QueueReconciler` has done its part, and leave
        their number to the scaler. Raises Transient or Invalid.

        `is_repair` is what the other part returned; if it is true, changes by others are reported.
        """
        spec, owner = task_queue.spec, task_queue.owner
        if spec is None:
            raise Invalid(task_queue.invalid, reason="InvalidSpec")
        wanted = WantedWorkers(
            spec=spec,
            timeouts=timeouts(spec, features=session.features),
            heartbeat=session.spec.heartbeat,
            address=session.address,
            credentials=state.users.known.get("worker"),
        )
        repaired = []
        refuse_gone(owner, world=self.world)
        try:
            placed = await self.workloads.ensure(owner, wanted)
            if is_repair and placed.is_repaired(state.placed.get(placed.name)):
                repaired.append(placed.name)
            state.placed[placed.name] = placed.after
            # A thousand idle queues need no disruption budgets, which cost Kubernetes work.
            if state.is_protected or self.has_workers(owner):
                placed = await self.workloads.bound_evictions(owner)
                if is_repair and placed.is_repaired(state.placed.get(placed.name)):
                    repaired.append(placed.name)
                state.placed[placed.name] = placed.after
                state.is_protected = True
        except OperatorError as error:
            if error.reason != "Conflict":  # the next attempt sees the conflicting change
                state.worker_trouble = error.trouble
            raise
        state.worker_trouble = None
        if repaired:
            now = self.clock()
            state.repairs = 1 if now - state.repaired_at > 2 * RESYNC else state.repairs + 1
            state.repaired_at = now
            await tell_drift(owner, repaired, events=self.events)
