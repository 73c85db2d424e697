"""Removes a deleted TaskQueue from RabbitMQ, by its deletion policy.

The operator may end after any line of this and start again with nothing but the TaskQueue and what
RabbitMQ holds. So each step looks at both anew and may be repeated, and no step removes anything
that a later step needs as evidence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

from longshore.contract.delays import LEVELS, level_name, shared_queues
from longshore.contract.names import LOST, dead_queue_name
from longshore.logs import Log
from longshore_operator.api.v1alpha1 import DeletionPolicy
from longshore_operator.app.ports.kubernetes import Cluster
from longshore_operator.app.ports.rabbitmq import Scrutiny
from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.reconciling.claims import others
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.sessions.keeper import CONNECTING
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.access.permissions import ROLES, user_name
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.rabbitmq.estate import Estate, estate_of
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.policies import own_policy_name
from longshore_operator.core.rabbitmq.rosters import DEAD, JOBS, Listed
from longshore_operator.core.rabbitmq.topology import Topology, entry_bindings
from longshore_operator.errors import UNREACHABLE, OperatorError, Transient

log = Log(__name__)

CLOSED_FOR = 2.0
"""Seconds for the arrival of jobs that RabbitMQ had routed to a queue when it was closed."""

DELIVERED_WITHIN = 0.5
"""Seconds for a message to reach our consumer after a queue has assigned it to that."""

FRESH = 1.0
"""Seconds for which all deletions share one reading of the vhost to decide what is ours."""

LOOK_AGAIN = 5
"""Seconds of draining after which the TaskQueue is read again: its policy may have changed."""

GIVE_UP_AFTER = 300.0
"""Seconds for which trouble may delay a deletion, as counted by the current operator process."""

GRACE = 30.0
"""Seconds that Kubernetes gives a pod whose spec sets no grace period."""

SHOWN_WITHIN = 30.0
"""Seconds within which Kubernetes reports that a worker runs. On a busy node, the worker may have
begun a job before that."""

_PASSING = frozenset({CONNECTING.reason, "Busy", UNREACHABLE})
"""Reasons of trouble that is temporary, and says nothing about the Broker."""


class _Gone(Exception):
    """The TaskQueue no longer exists, because somebody has removed its finalizer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaving:
    """A TaskQueue that is being deleted, with what RabbitMQ held at the last look."""

    task_queue: TaskQueueObject
    session: Session
    inventory: Inventory
    estate: Estate


@dataclass(slots=True, kw_only=True)
class Stuck:
    """When the present trouble of one deletion began, and when it was last met."""

    since: float | None = None
    at: float = -inf


@dataclass(slots=True, kw_only=True)
class Deletion:
    """Deletes TaskQueues. `clock` is monotonic; `sleep` waits for a number of seconds."""

    world: World
    brokers: Sessions
    cluster: Cluster
    workloads: Workloads
    states: States[Reconciliation]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    stuck: States[Stuck] = field(default_factory=lambda: States(new=lambda _: Stuck()))

    async def delete(self, task_queue: TaskQueueObject) -> None:
        """Do everything that must precede the removal of the TaskQueue.

        Raises Transient if it must be called again. Uninterrupted trouble delays a deletion for at
        most `GIVE_UP_AFTER`; then the TaskQueue is removed, and an Event names what stays behind.
        """
        stuck = self.stuck.of(_key(task_queue), task_queue)
        try:
            await self._delete(task_queue, stuck=stuck)
        except _Gone:
            pass
        except OperatorError as error:
            if error.reason in _PASSING:
                raise
            if error.reason != "BrokerNotFound" and not self._is_over(stuck):
                raise
            await self._tell(
                task_queue,
                reason="QueueAbandoned",
                message=f"the TaskQueue was deleted but not cleaned up on its Broker ({error}): "
                f"queue {task_queue.source} and its users may still be in RabbitMQ",
            )
        self.stuck.forget(_key(task_queue))

    def _is_over(self, stuck: Stuck) -> bool:
        """Record that there is trouble now, and return whether it has lasted too long."""
        now = self.clock()
        if stuck.since is None or now - stuck.at > GIVE_UP_AFTER:
            stuck.since = now  # any earlier trouble had passed
        stuck.at = now
        return now - stuck.since >= GIVE_UP_AFTER

    async def _delete(self, task_queue: TaskQueueObject, *, stuck: Stuck) -> None:
        state = self.states.of(_key(task_queue), task_queue)
        broker = task_queue.ending.broker
        session = self.brokers.session(broker)
        if session is None:
            if state.session is None and task_queue.status.timeouts is None:
                return  # its Broker was never reached, so RabbitMQ holds nothing of it
            trouble = self.brokers.trouble(broker) or CONNECTING
            raise Transient.of(trouble)
        if state.is_busy:
            raise Transient("the TaskQueue is being reconciled", reason="Busy")
        if task_queue.ending.policy is not DeletionPolicy.DELETE:
            # Workers end their jobs first: without their user they could not ack them.
            task_queue = await self._drain(task_queue, session=session, stuck=stuck)
        await self._delete_users(task_queue, session)
        await self._leave_queues(task_queue, session=session)
        session.doubt()

    async def _drain(
        self, task_queue: TaskQueueObject, *, session: Session, stuck: Stuck
    ) -> TaskQueueObject:
        """Have the workers end their jobs; return the TaskQueue as it is after that."""
        key = _key(task_queue)
        workload = self.workloads.workload(key)
        if workload is not None and workload.replicas:
            spec = task_queue.spec
            ceiling = spec.scaling.max if spec else workload.replicas
            await self.workloads.scale(key, workload, to=0, ceiling=ceiling)
        left, waited = _grace(task_queue, session=session), 0
        while waited < left and self._may_work(key, waited=waited):
            await self.sleep(1.0)
            waited += 1
            stuck.since = None  # the delay is caused by work, not by trouble
            if waited % LOOK_AGAIN == 0:
                task_queue = await self._as_it_is(task_queue)
                if task_queue.ending.policy is DeletionPolicy.DELETE:
                    return task_queue
        return await self._as_it_is(task_queue) if waited else task_queue

    def _may_work(self, key: Key, *, waited: float) -> bool:
        """Return whether a worker may hold jobs `waited` seconds after all were told to end."""
        pods = self.workloads.workers(key)
        return any(pod.running for pod in pods) or (bool(pods) and waited < SHOWN_WITHIN)

    async def _as_it_is(self, task_queue: TaskQueueObject) -> TaskQueueObject:
        """Return the TaskQueue as Kubernetes has it now.

        kopf shows a handler no change until the handler ends. Raises _Gone if there is none.
        """
        owner = task_queue.owner
        now = await self.cluster.task_queue(namespace=owner.namespace, name=owner.name)
        if now is None or now.owner.uid != owner.uid:
            raise _Gone
        return now

    async def _delete_users(self, task_queue: TaskQueueObject, session: Session) -> None:
        vhost, queue = session.address.vhost, task_queue.owner.queue
        for role in ROLES:
            name = user_name(vhost=vhost, queue=queue, role=role)
            await session.management.delete_user(name)

    async def _leave_queues(self, task_queue: TaskQueueObject, *, session: Session) -> None:
        inventory = await session.inventory(max_age=FRESH)
        own = task_queue.owner.queue
        if shared := {task_queue.source, own, dead_queue_name(own)} & shared_queues():
            message = f"queue {shared.pop()} is shared by all TaskQueues of its Broker and stays"
            await self._tell(task_queue, reason="QueueRetained", message=message)
            return
        estate = self._estate(task_queue, session=session, inventory=inventory)
        leaving = _Leaving(
            task_queue=task_queue, session=session, inventory=inventory, estate=estate
        )
        policy, adopts = task_queue.ending.policy, task_queue.ending.queue_name is not None
        if policy is DeletionPolicy.DELETE and estate.jobs.is_ours:
            # The job queue is last: its bindings, which prove that it was taken over, end with it.
            await self._remove_dead(leaving)
            await self._remove(leaving)
        elif adopts or not estate.jobs.is_ours:
            await self._give_back(leaving)
        elif policy is DeletionPolicy.RETAIN:
            await self._retain(leaving, why="stays")
        else:
            await self._remove_if_empty(leaving)

    def _estate(
        self, task_queue: TaskQueueObject, *, session: Session, inventory: Inventory
    ) -> Estate:
        """Return what belongs to this TaskQueue; nothing else is touched."""
        states = {each.type: each.status for each in task_queue.status.conditions}
        return estate_of(
            task_queue.owner.queue,
            inventory=inventory,
            adopted=task_queue.ending.queue_name,
            was_declared=states.get("QueueDeclared") == "True" or "Guaranteed" in states,
            others=others(task_queue, broker=session.spec, world=self.world, inventory=inventory),
        )

    async def _remove(self, leaving: _Leaving) -> None:
        queue, source = leaving.task_queue.owner.queue, leaving.task_queue.source
        await self._remove_policy(leaving, of=queue)
        await leaving.session.management.delete_queue(source)  # also deletes its bindings
        if source == queue:
            await leaving.session.rosters.strike(Listed(roster=JOBS, queue=queue))

    async def _remove_dead(self, leaving: _Leaving) -> None:
        queue, part = leaving.task_queue.owner.queue, leaving.estate.dead
        dead = dead_queue_name(queue)
        if part.is_ours:
            await leaving.session.management.delete_queue(dead)
        elif part.why_not:
            await self._tell(leaving.task_queue, reason="QueueRetained", message=part.why_not)
        await self._remove_policy(leaving, of=dead)
        if part.is_ours or queue in leaving.inventory.listed(DEAD):
            await leaving.session.rosters.strike(Listed(roster=DEAD, queue=queue))

    async def _remove_policy(self, leaving: _Leaving, *, of: str) -> None:
        name = own_policy_name(of)
        if any(policy.name == name for policy in leaving.estate.policies):
            await leaving.session.management.delete_policy(name)

    async def _retain(self, leaving: _Leaving, *, why: str) -> None:
        """Leave the queue, and open it: an interrupted attempt may have closed it."""
        await self._open(leaving)
        message = f"queue {leaving.task_queue.source} {why}"
        await self._tell(leaving.task_queue, reason="QueueRetained", message=message)

    async def _open(self, leaving: _Leaving) -> None:
        source, management = leaving.task_queue.source, leaving.session.management
        if await management.has_queue(source):
            ways = entry_bindings(leaving.task_queue.owner.queue, source=source)
            await management.apply(Topology(bindings=ways))

    async def _give_back(self, leaving: _Leaving) -> None:
        """Leave a queue that was taken over, or is another's, with the jobs that it holds now."""
        task_queue, session, estate = leaving.task_queue, leaving.session, leaving.estate
        queue, source, policy = task_queue.owner.queue, task_queue.source, task_queue.ending.policy
        for binding in entry_bindings(queue, source=source):
            if binding in leaving.inventory.bindings:
                await session.management.unbind(binding)
        await self._remove_policy(leaving, of=queue)
        if queue in leaving.inventory.listed(JOBS):
            await session.rosters.strike(Listed(roster=JOBS, queue=queue))
        if policy is DeletionPolicy.DELETE:
            await self._remove_dead(leaving)
        elif policy is DeletionPolicy.RETAIN_IF_NOT_EMPTY:
            if estate.dead.is_ours:
                async with session.link.scrutiny() as look:
                    await self._remove_dead_if_empty(leaving, look=look)
            else:
                await self._remove_dead(leaving)  # what belongs to it
        message = estate.jobs.why_not
        is_there = source in leaving.inventory.queues
        if is_there and estate.has_taken_over and not estate.is_anothers:
            message = f"queue {source} had been taken over and stays, without Longshore's policy"
        if message:
            await self._tell(task_queue, reason="QueueRetained", message=message)

    async def _remove_if_empty(self, leaving: _Leaving) -> None:
        task_queue, session = leaving.task_queue, leaving.session
        async with session.link.scrutiny() as look:
            if await session.management.has_queue(task_queue.source):
                _refuse_silent(task_queue.source, inventory=leaving.inventory)
                if await look.has_ready(task_queue.source):
                    await self._retain(leaving, why=_HOLDS)
                    return
                now = await self._close(leaving, look=look)
                if now is None:
                    await self._retain(leaving, why=_HOLDS)
                    return
                if now.ending.policy is not task_queue.ending.policy:
                    await self._open(leaving)
                    raise Transient("the TaskQueue's deletion policy has changed", reason="Busy")
            await self._remove(leaving)
            await self._tell_of_delayed(task_queue, session=session)
            await self._remove_dead_if_empty(leaving, look=look)

    async def _close(self, leaving: _Leaving, *, look: Scrutiny) -> TaskQueueObject | None:
        """Close the queue to new jobs, and check whether it is empty.

        Returns the TaskQueue as it is after that; None if the queue holds jobs. The queue is closed
        in either case.
        """
        source = leaving.task_queue.source
        try:
            for binding in entry_bindings(source):
                await leaving.session.management.unbind(binding)
            closed_at = self.clock()
            dead_letters = leaving.inventory.has_dead_lettering(source)
            if not await look.is_empty(source, dead_letters=dead_letters):
                return None
            await self.sleep(max(0.0, CLOSED_FOR - (self.clock() - closed_at)))
            now = await self._as_it_is(leaving.task_queue)
            return now if await look.stays_empty(source) else None
        except (OperatorError, _Gone, asyncio.CancelledError):
            await self._open(leaving)
            raise

    async def _remove_dead_if_empty(self, leaving: _Leaving, *, look: Scrutiny) -> None:
        # Called when no dead letter is on its way any more.
        if not leaving.estate.dead.is_ours:
            await self._remove_dead(leaving)  # what belongs to it
            return
        dead = dead_queue_name(leaving.task_queue.owner.queue)
        _refuse_silent(dead, inventory=leaving.inventory)
        dead_letters = leaving.inventory.has_dead_lettering(dead)
        is_empty = not await look.has_ready(dead) and await look.is_empty(
            dead, dead_letters=dead_letters
        )
        if is_empty:
            await self.sleep(DELIVERED_WITHIN)
            is_empty = await look.stays_empty(dead)
        if not is_empty:
            message = f"queue {dead} holds dead letters and stays until they expire"
            await self._tell(leaving.task_queue, reason="QueueRetained", message=message)
        else:
            await self._remove_dead(leaving)

    async def _tell_of_delayed(self, task_queue: TaskQueueObject, *, session: Session) -> None:
        levels = await session.link.depths.read(level_name(level) for level in range(LEVELS))
        if delayed := sum(level.ready for level in levels.values() if isinstance(level, Depth)):
            await self._tell(
                task_queue,
                reason="DelayedJobsUnknown",
                message=f"{delayed} delayed jobs of all TaskQueues together are waiting; RabbitMQ "
                f"cannot count them by queue: those for {task_queue.source} will end in {LOST}",
            )

    async def _tell(self, task_queue: TaskQueueObject, *, reason: str, message: str) -> None:
        owner = task_queue.owner
        name = f"{owner.namespace}.{owner.name}"
        log.info("deletion-reported", task_queue=name, reason=reason, message=message)
        await self.cluster.event(
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            type="Normal",
            reason=reason,
            message=message,
        )


_HOLDS = "holds jobs and stays, with its dead letters; a new TaskQueue of this name will use it"


def _key(task_queue: TaskQueueObject) -> Key:
    return task_queue.owner.namespace, task_queue.owner.name


def _refuse_silent(queue: str, *, inventory: Inventory) -> None:
    """Raise Transient if a queue cannot report what it holds."""
    if not inventory.answers(queue):
        raise Transient(
            f"queue {queue} has lost most of its members, so it is unknown whether it holds jobs",
            reason="QuorumLost",
        )


def _grace(task_queue: TaskQueueObject, *, session: Session) -> float:
    """Return the seconds that a worker may take to end its jobs."""
    if task_queue.spec:
        return timeouts(task_queue.spec, features=session.features).termination_grace
    known = task_queue.status.timeouts
    return known.termination_grace if known else GRACE
