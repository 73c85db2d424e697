"""Takes a deleted TaskQueue out of RabbitMQ, by its deletion policy."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from longshore.contract.names import LOST, dead_queue_name, worker_name
from longshore_operator.api.v1alpha1 import DeletionPolicy, TaskQueueSpec
from longshore_operator.app.broker import Session
from longshore_operator.app.brokers import CONNECTING, Brokers
from longshore_operator.app.claims import rival
from longshore_operator.app.cluster import Cluster
from longshore_operator.app.objects import TaskQueueObject
from longshore_operator.app.record import Record, Records
from longshore_operator.app.world import Key, World
from longshore_operator.core.permissions import ROLES, user_name
from longshore_operator.core.policies import own_policy_name
from longshore_operator.core.rollout import rollout
from longshore_operator.core.topology import Queue, Topology, entry_bindings
from longshore_operator.core.workload import timeouts
from longshore_operator.errors import OperatorError, Transient

logger = logging.getLogger(__name__)

SETTLING = 6.0
"""Seconds after which RabbitMQ's count of a quorum queue's jobs, at most 5 s old, is younger than
the moment when the queue was closed."""

FRESH = 1.0
"""Seconds that a reading of the vhost may be old by which is decided what is ours to delete: a
thousand that go together share one."""

GIVE_UP_AFTER = 300.0
"""Seconds for which trouble may hold up a deletion, counted by the operator that has it."""

_PASSING = frozenset({CONNECTING.reason, "Busy"})
"""Reasons that say nothing about the Broker yet."""


@dataclass(slots=True, kw_only=True)
class Deletion:
    """Deletes TaskQueues. `clock` is monotonic; `sleep` waits so many seconds."""

    world: World
    brokers: Brokers
    cluster: Cluster
    records: Records
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def delete(self, task_queue: TaskQueueObject) -> None:
        """Do all that must be done before the TaskQueue may go.

        Raises Transient to be called again. Trouble holds a deletion up for `GIVE_UP_AFTER` at the
        most; then the TaskQueue goes, and an Event names what stays behind.
        """
        if task_queue.spec is None:
            return  # it was never declared
        key: Key = (task_queue.owner.namespace, task_queue.owner.name)
        record = self.records.of(key, task_queue)
        try:
            await self._delete(task_queue, task_queue.spec, record=record)
        except OperatorError as error:
            if error.reason in _PASSING:
                raise
            if record.stuck_since is None:
                record.stuck_since = self.clock()
            if error.reason != "BrokerNotFound" and not self._is_over(record.stuck_since):
                raise
            await self._tell(
                task_queue,
                reason="QueueAbandoned",
                message=f"deleted without its Broker ({error}): queue {task_queue.source} and "
                "its users may still be in RabbitMQ",
            )

    def _is_over(self, since: float) -> bool:
        return self.clock() - since >= GIVE_UP_AFTER

    async def _delete(
        self, task_queue: TaskQueueObject, spec: TaskQueueSpec, *, record: Record
    ) -> None:
        session = self.brokers.session(spec.broker.name)
        if session is None:
            if record.session is None and task_queue.status.timeouts is None:
                return  # its Broker was never reached, so there is nothing of it in RabbitMQ
            trouble = self.brokers.trouble(spec.broker.name) or CONNECTING
            raise Transient(trouble.message, reason=trouble.reason)
        if record.is_busy:
            raise Transient("it is being reconciled", reason="Busy")
        if spec.deletion_policy is not DeletionPolicy.DELETE:
            # Workers end their jobs first: without their user they could not ack them.
            await self._drain(task_queue, spec, session=session)
        await self._delete_users(task_queue, session)
        await self._delete_queues(task_queue, spec, session=session)
        session.doubt()

    async def _drain(
        self, task_queue: TaskQueueObject, spec: TaskQueueSpec, *, session: Session
    ) -> None:
        key: Key = (task_queue.owner.namespace, task_queue.owner.name)
        deployment = self.world.deployment(key)
        if deployment is not None and deployment.replicas:
            await self.cluster.scale(
                namespace=key[0],
                name=worker_name(key[1]),
                replicas=0,
                rollout=rollout(0, ceiling=spec.scaling.max),
            )
        left = timeouts(spec, features=session.features).termination_grace
        while left > 0 and any(pod.running for pod in self.world.pods(key)):
            await self.sleep(1.0)
            left -= 1.0

    async def _delete_users(self, task_queue: TaskQueueObject, session: Session) -> None:
        vhost, queue = session.address.vhost, task_queue.owner.queue
        for role in ROLES:
            name = user_name(vhost=vhost, queue=queue, role=role)
            await session.management.delete_user(name)

    async def _delete_queues(
        self, task_queue: TaskQueueObject, spec: TaskQueueSpec, *, session: Session
    ) -> None:
        if why := await self._is_not_ours(task_queue, session=session):
            await self._tell(task_queue, reason="QueueRetained", message=why)
        elif spec.deletion_policy is DeletionPolicy.DELETE:
            await self._remove(task_queue, session=session)
            await self._remove_dead(task_queue, session=session)
        elif spec.queue.name:
            await self._give_back(task_queue, session=session)
            await self._remove_dead_if_empty(task_queue, spec, session=session)
        elif spec.deletion_policy is DeletionPolicy.RETAIN:
            message = f"queue {task_queue.source} stays"
            await self._tell(task_queue, reason="QueueRetained", message=message)
        elif await self._is_empty(task_queue.source, session=session):
            await self._tell_of_delayed(task_queue, session=session)
            await self._remove(task_queue, session=session)
            await self._remove_dead_if_empty(task_queue, spec, session=session)
        else:
            # An attempt that was cut short may have left it closed.
            ways = entry_bindings(task_queue.source)
            await session.management.apply(Topology(bindings=ways))
            await self._tell(
                task_queue,
                reason="QueueRetained",
                message=f"queue {task_queue.source} holds jobs and stays, with its dead letters; "
                "a TaskQueue of this name takes it up again",
            )

    async def _is_not_ours(self, task_queue: TaskQueueObject, *, session: Session) -> str | None:
        """Why nothing of the queues may be touched; None where they are this TaskQueue's."""
        inventory, name = await session.inventory(max_age=FRESH), task_queue.source
        other = rival(task_queue, broker=session.spec, world=self.world, inventory=inventory)
        if other is not None:
            owner = other.owner
            return f"queue {task_queue.source} is TaskQueue {owner.namespace}/{owner.name}'s"
        if task_queue.spec and task_queue.spec.queue.name:
            # Only our bindings show that it was ever taken over: the wish to may have been refused.
            if not inventory.bindings & set(entry_bindings(task_queue.owner.queue, source=name)):
                return f"queue {name} was not taken over and stays"
        elif inventory.queues.get(name) not in (None, Queue(name=name)):
            return f"queue {name} was made by somebody else and stays"
        return None

    async def _remove(self, task_queue: TaskQueueObject, *, session: Session) -> None:
        queue, source, management = task_queue.owner.queue, task_queue.source, session.management
        await management.delete_queue(source)  # its bindings go with it
        await management.delete_policy(own_policy_name(queue))

    async def _remove_dead(self, task_queue: TaskQueueObject, *, session: Session) -> None:
        dead = dead_queue_name(task_queue.owner.queue)
        await session.management.delete_queue(dead)
        await session.management.delete_policy(own_policy_name(dead))

    async def _remove_dead_if_empty(
        self, task_queue: TaskQueueObject, spec: TaskQueueSpec, *, session: Session
    ) -> None:
        # Called `SETTLING` after the last job has ended: the count is younger than its dead letter.
        dead = dead_queue_name(task_queue.owner.queue)
        if spec.deletion_policy is DeletionPolicy.RETAIN:
            return
        if await session.management.jobs_in(dead):
            message = f"queue {dead} holds dead letters and stays until they expire"
            await self._tell(task_queue, reason="QueueRetained", message=message)
        else:
            await self._remove_dead(task_queue, session=session)

    async def _give_back(self, task_queue: TaskQueueObject, *, session: Session) -> None:
        """Leave a queue that was taken over as it was found, with the jobs that are in it now."""
        queue, source = task_queue.owner.queue, task_queue.source
        for binding in entry_bindings(queue, source=source):
            await session.management.unbind(binding)
        await session.management.delete_policy(own_policy_name(queue))
        await self.sleep(SETTLING)  # for the count of its dead letters
        message = f"queue {source} had been taken over and stays, without Longshore's policy"
        await self._tell(task_queue, reason="QueueRetained", message=message)

    async def _tell_of_delayed(self, task_queue: TaskQueueObject, *, session: Session) -> None:
        if delayed := (await session.inventory(max_age=FRESH)).delayed():
            await self._tell(
                task_queue,
                reason="DelayedJobsUnknown",
                message=f"{delayed} delayed jobs of all queues together are under way; RabbitMQ "
                f"does not tell whose: those for {task_queue.source} will end in queue {LOST}",
            )

    async def _is_empty(self, queue: str, *, session: Session) -> bool:
        """Whether a queue holds no job. It is closed to new ones then."""
        management = session.management
        jobs = await management.jobs_in(queue)
        if jobs is None:
            await self.sleep(SETTLING)  # for the count of its dead letters
            return True
        if jobs:
            return False
        ways = entry_bindings(queue)
        try:
            for binding in ways:
                await management.unbind(binding)
            await self.sleep(SETTLING)
            return not await management.jobs_in(queue)
        except (OperatorError, asyncio.CancelledError):
            await management.apply(Topology(bindings=ways))
            raise

    async def _tell(self, task_queue: TaskQueueObject, *, reason: str, message: str) -> None:
        owner = task_queue.owner
        logger.info(
            "deletion",
            extra={"task_queue": f"{owner.namespace}/{owner.name}", "why": message},
        )
        await self.cluster.event(
            namespace=owner.namespace,
            name=owner.name,
            uid=owner.uid,
            type="Normal",
            reason=reason,
            message=message,
        )
