"""Reconciles each TaskQueue when it has changed, is in doubt, or failed some time ago."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from longshore.contract import backoff
from longshore.logs import Log
from longshore_operator.app.reconciling.patrol import RESYNC, Patrol
from longshore_operator.app.reconciling.queues import QueueReconciler
from longshore_operator.app.reconciling.state import Reconciled, Reconciliation
from longshore_operator.app.reconciling.workload import WorkloadReconciler
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.errors import Invalid, OperatorError
from longshore_operator.trouble import Trouble

log = Log(__name__)

CONCURRENCY = 256
"""TaskQueues reconciled at the same time; their new objects share requests to RabbitMQ."""

SLOWEST_RETRY = 60.0
INVALID_RETRY = 30.0
"""Seconds until a refused spec is tried again unchanged: the obstacle may be elsewhere."""

PAUSE = 0.05
"""Seconds between two looks for TaskQueues that are due."""


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """The loop over all TaskQueues. `clock` is monotonic, `chance` uniform in [0, 1)."""

    world: World
    brokers: Sessions
    queues: QueueReconciler
    workers: WorkloadReconciler
    states: States[Reconciliation]
    patrol: Patrol
    clock: Callable[[], float]
    chance: Callable[[], float]
    reconciled: Callable[[bool], None] = lambda _: None
    """Called after each attempt, with whether it failed."""

    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))

    def wake(self) -> None:
        """Look at once, because something has changed."""
        self._wake.set()

    def seen(self, key: Key, task_queue: TaskQueueObject) -> Reconciled:
        """Return what the other loops may know of one TaskQueue now."""
        return self.states.of(key, task_queue).seen

    def doubt(self, key: Key, task_queue: TaskQueueObject) -> None:
        """Read this TaskQueue's objects again and reconcile: something seems to be missing."""
        state = self.states.of(key, task_queue)
        if not state.is_doubted and not state.is_busy:
            state.is_doubted = True
            if state.session is not None:
                state.session.doubt()
            self.wake()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                self.patrol.look(group)
                present = dict(self.world.task_queues())
                if self.world.is_complete:
                    self.states.keep_only(present)
                for key, task_queue in present.items():
                    self._start(group, key, task_queue)
                # Many simultaneous changes cost one look at all TaskQueues, not one each.
                await asyncio.sleep(PAUSE)
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._wake.wait()

    def _start(self, group: asyncio.TaskGroup, key: Key, task_queue: TaskQueueObject) -> None:
        if task_queue.is_deleting or not task_queue.is_finalized or task_queue.spec is None:
            return
        session = self.brokers.session(task_queue.spec.broker.name)
        state = self.states.of(key, task_queue)
        if session is None or state.is_busy or not self._is_due(task_queue, state, session):
            return
        state.is_busy = True
        group.create_task(self._reconcile(key, task_queue, state=state, session=session))

    def _is_due(self, task_queue: TaskQueueObject, state: Reconciliation, session: Session) -> bool:
        if not state.is_of(task_queue) or state.session is not session:
            return True
        now = self.clock()
        if state.failures and (state.queue_trouble or not state.is_doubted):
            return now >= state.next_try
        # RabbitMQ's objects are repaired even while Kubernetes refuses the workers.
        is_bare = not state.is_protected and self.workers.has_workers(task_queue.owner)
        return state.is_doubted or is_bare or now - state.at > RESYNC

    async def _reconcile(
        self, key: Key, task_queue: TaskQueueObject, *, state: Reconciliation, session: Session
    ) -> None:
        name = ".".join(key)
        try:
            async with self._slots:
                await self.reconcile(task_queue, state=state, session=session)
        except OperatorError as error:
            log.warning("reconciliation-failed", task_queue=name, error=str(error))
            self._note_failure(state, invalid=isinstance(error, Invalid))
        except Exception:
            # A bug that one spec brings to light must not take the others down.
            log.exception("reconciliation-crashed", task_queue=name)
            state.queue_trouble = Trouble(reason="InternalError", message="see the operator's log")
            self._note_failure(state, invalid=True)
        else:
            log.info("task-queue-reconciled", task_queue=name, generation=task_queue.generation)
        finally:
            state.generation, state.session = task_queue.generation, session
            state.rotation = task_queue.rotation
            state.at = self.clock()
            state.is_busy = False
            self.reconciled(state.failures > 0)

    async def reconcile(
        self, task_queue: TaskQueueObject, *, state: Reconciliation, session: Session
    ) -> None:
        """Bring one TaskQueue to RabbitMQ, then its workers to the place where they run. Raises
        Transient or Invalid."""
        is_repair = await self.queues.reconcile(task_queue, state=state, session=session)
        await self.workers.reconcile(task_queue, state=state, session=session, is_repair=is_repair)
        state.failures = 0

    def _note_failure(self, state: Reconciliation, *, invalid: bool) -> None:
        state.failures += 1
        delay = backoff.delay_after(
            state.failures,
            first=1.0,
            least=INVALID_RETRY if invalid else 0.0,
            most=SLOWEST_RETRY,
            chance=self.chance(),
        )
        state.next_try = self.clock() + delay
