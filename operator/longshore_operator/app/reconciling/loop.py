"""Decides which TaskQueue is to be reconciled when, and looks after what was declared."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from longshore.contract.names import REPORTS_EXCHANGE
from longshore_operator.app.ports.kubernetes import Cluster
from longshore_operator.app.reconciling.claims import refuse_taken, refuse_unallowed, refuse_unfit
from longshore_operator.app.reconciling.users import admit, are_users_intact
from longshore_operator.app.reconciling.workload import deploy, protect
from longshore_operator.app.record import Record, Records
from longshore_operator.app.sessions.declaring import declare, refuse_foreign_policies
from longshore_operator.app.sessions.installations import keep
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.session import INVENTORY_AGE, Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.adoption import shortcomings
from longshore_operator.core.rabbitmq.exchanges import foreign_exchange_policy
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import shared_policies_in_force
from longshore_operator.core.rabbitmq.rosters import policies_in_force
from longshore_operator.core.rabbitmq.topology import (
    Topology,
    in_words,
    task_queue_topology,
    vhost_topology,
)
from longshore_operator.core.status import foreign_policy, foreign_shared_policy
from longshore_operator.core.trouble import Trouble
from longshore_operator.errors import Invalid, OperatorError, Transient

logger = logging.getLogger(__name__)

CONCURRENCY = 256
"""TaskQueues reconciled at the same time: what is new of them shares requests to RabbitMQ."""

SLOWEST_RETRY = 60.0
INVALID_RETRY = 30.0
"""Seconds until a spec that was refused is tried again unchanged: the obstacle may be elsewhere."""

PAUSE = 0.05
"""Seconds between two looks for what is to be done."""

PATIENCE = 3
"""Times that an object in Kubernetes is restored at once. Then the pauses grow: of two controllers
that each want another pod template, pods would be replaced for ever."""

RESYNC = 600.0
"""Seconds after which even an undisturbed TaskQueue is compared with Kubernetes."""


@dataclass(slots=True, kw_only=True)
class Reconciler:
    """The loop over all TaskQueues. `clock` is monotonic, `chance` uniform in [0, 1)."""

    world: World
    brokers: Brokers
    cluster: Cluster
    records: Records
    clock: Callable[[], float]
    chance: Callable[[], float]
    new_password: Callable[[], str]
    reconciled: Callable[[bool], None] = lambda _: None
    """Told of each attempt whether it failed."""

    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))
    _patrolled: float = 0.0

    def wake(self) -> None:
        """Look at once: something changed."""
        self._wake.set()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        patrol: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                # Beside reconciling: a Broker that hangs must not hold up the others.
                is_idle = patrol is None or patrol.done()
                if is_idle and self.clock() - self._patrolled > INVENTORY_AGE:
                    self._patrolled = self.clock()
                    patrol = group.create_task(self._patrol())
                for key, task_queue in self.world.task_queues():
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
        record = self.records.of(key, task_queue)
        if session is None or record.is_busy or not self._is_due(task_queue, record, session):
            return
        record.is_busy = True
        group.create_task(self._reconcile(key, task_queue, record=record, session=session))

    def _is_due(self, task_queue: TaskQueueObject, record: Record, session: Session) -> bool:
        if not record.is_of(task_queue) or record.session is not session:
            return True
        now = self.clock()
        if record.failures and (record.topology or not record.is_doubted):
            return now >= record.next_try
        # RabbitMQ's part is put right even while Kubernetes refuses the workers.
        is_bare = not record.is_protected and self._has_workers(task_queue.owner)
        return record.is_doubted or is_bare or now - record.reconciled_at > RESYNC

    def _has_workers(self, owner: Owner) -> bool:
        deployment = self.world.deployment((owner.namespace, owner.name))
        return deployment is not None and deployment.replicas > 0

    async def _reconcile(
        self, key: Key, task_queue: TaskQueueObject, *, record: Record, session: Session
    ) -> None:
        name = f"{key[0]}/{key[1]}"
        try:
            async with self._slots:
                await self.reconcile(task_queue, record=record, session=session)
        except OperatorError as error:
            logger.warning("reconcile_failed", extra={"task_queue": name, "why": str(error)})
            self._note_failure(record, invalid=isinstance(error, Invalid))
        except Exception:
            # A bug that one spec brings to light must not take the others down.
            logger.exception("reconcile_crashed", extra={"task_queue": name})
            record.topology = Trouble(reason="InternalError", message="see the operator's log")
            self._note_failure(record, invalid=True)
        else:
            logger.info(
                "reconciled", extra={"task_queue": name, "generation": task_queue.generation}
            )
        finally:
            record.generation, record.session = task_queue.generation, session
            record.rotation = task_queue.rotation
            record.reconciled_at = self.clock()
            record.is_busy = False
            self.reconciled(record.failures > 0)

    async def reconcile(
        self, task_queue: TaskQueueObject, *, record: Record, session: Session
    ) -> None:
        """Bring one TaskQueue to RabbitMQ and Kubernetes. Raises Transient or Invalid."""
        spec, owner = task_queue.spec, task_queue.owner
        if spec is None:
            raise Invalid(task_queue.invalid, reason="InvalidSpec")
        record.is_doubted = False
        limits = record.timeouts = timeouts(spec, features=session.features)
        topology = task_queue_topology(
            queue=owner.queue, spec=spec, timeouts=limits, features=session.features
        )
        is_known = record.is_of(task_queue) and record.session is session
        is_repair = is_known and record.wanted == topology
        try:
            await self._declare(task_queue, topology, record=record, session=session)
            self._refuse_gone(owner)
            await admit(
                owner,
                session=session,
                cluster=self.cluster,
                new_password=self.new_password,
                remembered=record.users,
                source=task_queue.source,
                rotation=task_queue.rotation,
            )
        except OperatorError as error:
            record.topology = Trouble(reason=error.reason, message=str(error))
            raise
        if is_repair:
            await self._tell_drift(owner, [*record.missed, *record.users.repaired])
        await self._tell_renewal(owner, list(record.users.renewed))
        record.missed, record.users.repaired, record.users.renewed = {}, {}, {}
        record.topology, record.wanted = None, topology
        _judge(record, task_queue, session=session, inventory=await session.inventory())
        repaired = []
        self._refuse_gone(owner)
        try:
            placed = await deploy(
                owner,
                spec=spec,
                timeouts=limits,
                session=session,
                cluster=self.cluster,
                credentials=record.users.known.get("worker"),
            )
            if is_repair and placed.is_repaired(record.deployed):
                repaired.append(placed.name)
            record.deployed = placed.after
            # A thousand queues at rest need no budgets, which Kubernetes would go on counting.
            if record.is_protected or self._has_workers(owner):
                placed = await protect(owner, cluster=self.cluster)
                if is_repair and placed.is_repaired(record.budgeted):
                    repaired.append(placed.name)
                record.is_protected, record.budgeted = True, placed.after
        except OperatorError as error:
            if error.reason != "Conflict":  # the next try sees what somebody wrote just now
                record.workload = Trouble(reason=error.reason, message=str(error))
            raise
        record.workload = None
        record.failures = 0
        if repaired:
            now = self.clock()
            record.repairs = 1 if now - record.repaired_at > 2 * RESYNC else record.repairs + 1
            record.repaired_at = now
            await self._tell_drift(owner, repaired)

    def _refuse_gone(self, owner: Owner) -> None:
        """Raises Transient where the TaskQueue went meanwhile: what is written for it would be
        taken from one of its name that was made since."""
        found = self.world.task_queue((owner.namespace, owner.name))
        if found is None or found.uid != owner.uid:
            name = f"{owner.namespace}/{owner.name}"
            raise Transient(f"TaskQueue {name} is gone, or was made anew", reason="Gone")

    async def _declare(
        self, task_queue: TaskQueueObject, topology: Topology, *, record: Record, session: Session
    ) -> None:
        refuse_unallowed(task_queue, broker=session.spec, world=self.world)
        if record.failures and task_queue.spec is not None:
            # What failed may have been for want of an exchange that all share.
            await self._tend_vhost(task_queue.spec.broker.name, session)
        inventory = await session.inventory()
        if _adopts(task_queue) and task_queue.source not in inventory.states:
            session.doubt()  # it may be younger than what was read
            inventory = await session.inventory()
        refuse_unfit(task_queue, inventory=inventory)
        refuse_taken(task_queue, broker=session.spec, world=self.world, inventory=inventory)
        await refuse_foreign_policies(topology, session=session, known=record.wanted)
        # Kept for the Event if this attempt fails: the next one does not miss all of it any more.
        record.missed |= dict.fromkeys(in_words(inventory.missing(topology)))
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

    def _note_failure(self, record: Record, *, invalid: bool) -> None:
        record.failures += 1
        delay = min(SLOWEST_RETRY, 2.0 ** min(record.failures, 10) / 2)
        if invalid:
            delay = max(delay, INVALID_RETRY)
        record.next_try = self.clock() + delay * (0.5 + self.chance())

    async def _patrol(self) -> None:
        """Find what was deleted or changed by hand, and have it repaired."""
        sessions = self.brokers.sessions().items()
        await asyncio.gather(*(self._patrol_one(name, session) for name, session in sessions))

    async def _patrol_one(self, name: str, session: Session) -> None:
        try:
            await self._inspect(name, session)
            session.note_patrol(failed=False)
        except Exception as error:
            # An answer that is none, of a proxy say, must not end the patrols of the others.
            session.note_patrol(failed=True)
            logger.warning(
                "patrol_failed",
                extra={"broker": name, "why": str(error)},
                exc_info=not isinstance(error, OperatorError),
            )

    async def _inspect(self, name: str, session: Session) -> None:
        began = self.clock()
        inventory = await session.inventory(max_age=0.0)
        if session.owner and not await keep(session, inventory):
            session.give_up()
            return
        await self._tend_vhost(name, session, inventory=inventory)
        if inventory.knows_policies:
            winning = inventory.winning_policies(shared_policies_in_force())
            session.policy = foreign_shared_policy(winning) or foreign_exchange_policy(
                inventory.exchange_policies, vhost_topology().exchanges
            )
        for key, task_queue in self.world.task_queues():
            record = self.records.of(key, task_queue)
            if record.session is not session or record.wanted is None or record.is_busy:
                continue
            if record.reconciled_at >= began:
                continue  # written while this was read
            is_intact = _is_intact(task_queue, record, session=session, inventory=inventory)
            if not is_intact or self._is_replaced(key, record):
                record.is_doubted = True
            if not is_intact:
                continue
            _judge(record, task_queue, session=session, inventory=inventory)

    def _is_replaced(self, key: Key, record: Record) -> bool:
        """Whether Deployment or PodDisruptionBudget do not say any more what they said."""
        pause = (
            10.0 * 2.0 ** min(record.repairs - PATIENCE, 10) if record.repairs >= PATIENCE else 0
        )
        if self.clock() - record.repaired_at < min(pause, RESYNC):
            return False
        deployment = self.world.deployment(key)
        said = deployment.standing if deployment else None
        return (record.deployed is not None and said != record.deployed) or (
            record.budgeted is not None and self.world.budget(key) != record.budgeted
        )

    async def _tend_vhost(
        self, name: str, session: Session, *, inventory: Inventory | None = None
    ) -> None:
        async with session.tending:
            await self._clear(session)
            repaired = await declare(vhost_topology(), session=session)
            if inventory is not None and self.world.is_complete:
                claimed = self.world.listed(broker=name)
                policies = await session.rosters.tend(inventory, claimed=claimed)
                repaired = replace(repaired, policies=(*repaired.policies, *policies))
        if REPORTS_EXCHANGE in {exchange.name for exchange in repaired.exchanges}:
            session.give_up()  # nothing is heard over the new one: our binding went with the old
        broker, words = self.world.broker(name), ", ".join(in_words(repaired))
        if words and broker is not None:
            await self.cluster.event(
                kind="Broker",
                namespace="default",  # where Kubernetes keeps events of what is in no namespace
                name=name,
                uid=broker.uid,
                type="Warning",
                reason="DriftRepaired",
                message=f"deleted or changed by hand, and restored: {words}",
            )

    async def _clear(self, session: Session) -> None:
        """Remove exchanges that were remade with other flags since the session was opened.

        What was bound to them is gone already, or is bound again.
        """
        for exchange in (await session.inventory()).foreign_exchanges(vhost_topology()):
            await session.management.delete_exchange(exchange.name)
            session.doubt()


def _is_intact(
    task_queue: TaskQueueObject, record: Record, *, session: Session, inventory: Inventory
) -> bool:
    is_declared = record.wanted is not None and inventory.missing(record.wanted) == Topology()
    return (
        is_declared
        and task_queue.source in inventory.states
        and are_users_intact(
            task_queue.owner,
            source=task_queue.source,
            session=session,
            inventory=inventory,
            remembered=record.users,
        )
    )


def _adopts(task_queue: TaskQueueObject) -> bool:
    return task_queue.spec is not None and task_queue.spec.queue.name is not None


def _judge(
    record: Record, task_queue: TaskQueueObject, *, session: Session, inventory: Inventory
) -> None:
    """Note what others do to the queues, and what these cannot do."""
    source, features = task_queue.source, session.features
    if record.wanted is not None and inventory.knows_policies:
        policies = record.wanted.policies
        expected = policies_in_force(policies, queue=task_queue.owner.queue, source=source)
        record.policy = foreign_policy(inventory.winning_policies(expected), features=features)
    state = inventory.states.get(source)
    if state is not None and _adopts(task_queue):
        record.shortcomings = shortcomings(source, state, features=features)
