"""Reconciles each TaskQueue when it is due: when it changed, is doubted, or failed a while ago."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from longshore.contract import backoff
from longshore.logs import Log
from longshore_operator.app.ports.kubernetes import Cluster
from longshore_operator.app.reconciling.claims import refuse_taken, refuse_unallowed, refuse_unfit
from longshore_operator.app.reconciling.patrol import RESYNC, Patrol, judge
from longshore_operator.app.reconciling.state import Reconciled, Reconciliation
from longshore_operator.app.reconciling.users import admit
from longshore_operator.app.reconciling.workload import deploy, protect
from longshore_operator.app.sessions.declaring import declare, refuse_foreign_policies
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.topology import (
    Topology,
    objects_in_words,
    task_queue_topology,
)
from longshore_operator.errors import Invalid, OperatorError, Transient
from longshore_operator.trouble import Trouble

log = Log(__name__)

CONCURRENCY = 256
"""TaskQueues reconciled at the same time: what is new of them shares requests to RabbitMQ."""

SLOWEST_RETRY = 60.0
INVALID_RETRY = 30.0
"""Seconds until a spec that was refused is tried again unchanged: the obstacle may be elsewhere."""

PAUSE = 0.05
"""Seconds between two looks for what is to be done."""


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """The loop over all TaskQueues. `clock` is monotonic, `chance` uniform in [0, 1)."""

    world: World
    brokers: Sessions
    cluster: Cluster
    states: States[Reconciliation]
    vhosts: Vhosts
    patrol: Patrol
    clock: Callable[[], float]
    chance: Callable[[], float]
    new_password: Callable[[], str]
    reconciled: Callable[[bool], None] = lambda _: None
    """Told of each attempt whether it failed."""

    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))

    def wake(self) -> None:
        """Look at once: something changed."""
        self._wake.set()

    def seen(self, key: Key, task_queue: TaskQueueObject) -> Reconciled:
        """What the other loops may know of one TaskQueue now."""
        return self.states.of(key, task_queue).seen

    def doubt(self, key: Key, task_queue: TaskQueueObject) -> None:
        """Something of this TaskQueue seems to be missing: read it anew, and reconcile."""
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
                # Many changes that come together cost one look at all TaskQueues, not one each.
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
        # RabbitMQ's part is put right even while Kubernetes refuses the workers.
        is_bare = not state.is_protected and self._has_workers(task_queue.owner)
        return state.is_doubted or is_bare or now - state.at > RESYNC

    def _has_workers(self, owner: Owner) -> bool:
        deployment = self.world.deployment((owner.namespace, owner.name))
        return deployment is not None and deployment.replicas > 0

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
        """Bring one TaskQueue to RabbitMQ and Kubernetes. Raises Transient or Invalid."""
        spec, owner = task_queue.spec, task_queue.owner
        if spec is None:
            raise Invalid(task_queue.invalid, reason="InvalidSpec")
        state.is_doubted = False
        limits = state.timeouts = timeouts(spec, features=session.features)
        topology = task_queue_topology(
            queue=owner.queue, spec=spec, timeouts=limits, features=session.features
        )
        is_known = state.is_of(task_queue) and state.session is session
        is_repair = is_known and state.wanted == topology
        try:
            await self._declare(task_queue, topology, state=state, session=session)
            self._refuse_gone(owner)
            await admit(
                owner,
                session=session,
                secrets=self.cluster,
                new_password=self.new_password,
                remembered=state.users,
                source=task_queue.source,
                rotation=task_queue.rotation,
            )
        except OperatorError as error:
            state.queue_trouble = error.trouble
            raise
        if is_repair:
            await self._tell_drift(owner, [*state.missed, *state.users.repaired])
        await self._tell_renewal(owner, list(state.users.renewed))
        state.missed, state.users.repaired, state.users.renewed = {}, {}, {}
        state.queue_trouble, state.wanted = None, topology
        judge(state, task_queue, session=session, inventory=await session.inventory())
        repaired = []
        self._refuse_gone(owner)
        try:
            placed = await deploy(
                owner,
                spec=spec,
                timeouts=limits,
                session=session,
                cluster=self.cluster,
                credentials=state.users.known.get("worker"),
            )
            if is_repair and placed.is_repaired(state.deployed):
                repaired.append(placed.name)
            state.deployed = placed.after
            # A thousand queues at rest need no budgets, which Kubernetes would go on counting.
            if state.is_protected or self._has_workers(owner):
                placed = await protect(owner, cluster=self.cluster)
                if is_repair and placed.is_repaired(state.budgeted):
                    repaired.append(placed.name)
                state.is_protected, state.budgeted = True, placed.after
        except OperatorError as error:
            if error.reason != "Conflict":  # the next try sees what somebody wrote just now
                state.worker_trouble = error.trouble
            raise
        state.worker_trouble = None
        state.failures = 0
        if repaired:
            now = self.clock()
            state.repairs = 1 if now - state.repaired_at > 2 * RESYNC else state.repairs + 1
            state.repaired_at = now
            await self._tell_drift(owner, repaired)

    def _refuse_gone(self, owner: Owner) -> None:
        """Raises Transient where the TaskQueue went meanwhile: what is written for it would be
        taken from one of its name that was made since."""
        found = self.world.task_queue((owner.namespace, owner.name))
        if found is None or found.uid != owner.uid:
            name = f"{owner.namespace}/{owner.name}"
            raise Transient(f"TaskQueue {name} is gone, or was made anew", reason="Gone")

    async def _declare(
        self,
        task_queue: TaskQueueObject,
        topology: Topology,
        *,
        state: Reconciliation,
        session: Session,
    ) -> None:
        refuse_unallowed(task_queue, broker=session.spec, world=self.world)
        if state.failures and task_queue.spec is not None:
            # What failed may have been for want of an exchange that all share.
            await self.vhosts.tend(task_queue.spec.broker.name, session)
        inventory = await session.inventory()
        if task_queue.adopts and task_queue.source not in inventory.states:
            session.doubt()  # it may be younger than what was read
            inventory = await session.inventory()
        refuse_unfit(task_queue, inventory=inventory)
        refuse_taken(task_queue, broker=session.spec, world=self.world, inventory=inventory)
        await refuse_foreign_policies(topology, session=session, known=state.wanted)
        # Kept for the Event if this attempt fails: the next one does not miss all of it any more.
        state.missed |= dict.fromkeys(objects_in_words(inventory.missing(topology)))
        await declare(topology, session=session)

    async def _tell_drift(self, owner: Owner, repaired: list[str]) -> None:
        if objects := ", ".join(repaired):
            await self.cluster.event(
                namespace=owner.namespace,
                name=owner.name,
                uid=owner.uid,
                type="Warning",
                reason="DriftRepaired",
                message=f"deleted or changed by hand, and restored: {objects}",
            )

    async def _tell_renewal(self, owner: Owner, secrets: list[str]) -> None:
        if secrets:
            await self.cluster.event(
                namespace=owner.namespace,
                name=owner.name,
                uid=owner.uid,
                type="Warning",
                reason="PasswordRenewed",
                message=f"{' and '.join(secrets)} had been deleted and their password is lost: "
                "made again with a new password; producers that run must read it again",
            )

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
