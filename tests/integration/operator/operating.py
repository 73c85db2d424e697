"""The operator's loop over TaskQueues on a real RabbitMQ, with Kubernetes left out."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from longshore_operator.app.reconciling.loop import Reconciler
from longshore_operator.app.reconciling.patrol import Patrol
from longshore_operator.app.reconciling.queues import QueueReconciler
from longshore_operator.app.reconciling.rounds import Rounds
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.reconciling.workload import WorkloadReconciler
from longshore_operator.app.scaling.state import ScalingRecord, begun
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.sessions.vhosts import Vhosts
from longshore_operator.app.states import States
from longshore_operator.app.watched import objects
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.trouble import Trouble
from tests.integration.operator.brokers import opened, registered
from tests.integration.operator.fakes import Kubernetes, Watched
from tests.integration.operator.task_queues import until


@dataclass
class OneBroker:
    """Brokers with one session, or with none and a trouble."""

    one: Session | None
    why: str = "Unreachable"

    def session(self, name: str) -> Session | None:
        return self.one

    def sessions(self) -> dict[str, Session]:
        return {"default": self.one} if self.one else {}

    def trouble(self, name: str) -> Trouble | None:
        return None if self.one else Trouble(reason=self.why, message="")


def reconciliations() -> States[Reconciliation]:
    """Nothing is remembered yet."""
    return States(new=lambda _: Reconciliation())


@dataclass
class Operating:
    """TaskQueues as the cluster has them, and what came of them."""

    session: Session
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    world: World = field(default_factory=lambda: World(is_complete=True))
    states: States[Reconciliation] = field(default_factory=reconciliations)
    records: States[ScalingRecord] = field(
        default_factory=lambda: States(new=lambda found: begun(found, since=0))
    )

    queues: dict[Key, list[TaskQueueObject]] = field(default_factory=dict)
    """What the world shows of TaskQueues."""

    def __post_init__(self) -> None:
        numbers = itertools.count(1)
        self.world.queues = self.queues
        self.world.deployments = Watched(self.kubernetes.deployments, objects.deployment)
        self.world.budgets = Watched(self.kubernetes.budgets, objects.disruption_budget)
        self.world.registered = {"default": [registered()]}
        brokers = OneBroker(self.session)
        vhosts = Vhosts(world=self.world, cluster=self.kubernetes)
        self.workloads = self.kubernetes.workloads(self.world)
        self.patrol = Patrol(
            world=self.world,
            brokers=brokers,
            vhosts=vhosts,
            workloads=self.workloads,
            states=self.states,
            clock=time.monotonic,
        )
        self.reconciler = Reconciler(
            world=self.world,
            brokers=brokers,
            queues=QueueReconciler(
                world=self.world,
                vhosts=vhosts,
                secrets=self.kubernetes,
                events=self.kubernetes,
                new_password=lambda: f"secret-{next(numbers)}",
            ),
            workers=WorkloadReconciler(
                world=self.world,
                workloads=self.workloads,
                events=self.kubernetes,
                clock=time.monotonic,
            ),
            states=self.states,
            patrol=self.patrol,
            clock=time.monotonic,
            chance=lambda: 0.0,
        )

        self.rounds = Rounds(
            world=self.world,
            secrets=self.kubernetes,
            states=self.states,
            clock=time.monotonic,
            chance=lambda: 0.0,
            wake=self.reconciler.wake,
        )

    def apply(self, *task_queues: TaskQueueObject) -> None:
        """As kubectl would."""
        for each in task_queues:
            self.queues[each.owner.namespace, each.owner.name] = [each]
        self.reconciler.wake()

    def state(self, task_queue: TaskQueueObject) -> Reconciliation:
        return self.states.of((task_queue.owner.namespace, task_queue.owner.name), task_queue)

    async def settled(self, task_queue: TaskQueueObject) -> Reconciliation:
        """Its state, once this very object was reconciled or refused."""
        state = self.state(task_queue)

        async def look() -> bool:
            return state.is_of(task_queue) and not state.is_busy

        await until(look, within=30)
        return state

    async def ready(self, task_queue: TaskQueueObject) -> Reconciliation:
        """Apply it and see that nothing is wrong."""
        self.apply(task_queue)
        state = await self.settled(task_queue)
        assert state.queue_trouble is None, state.queue_trouble
        return state

    async def refused(self, task_queue: TaskQueueObject) -> Trouble:
        """Apply it and see what is wrong."""
        self.apply(task_queue)
        state = await self.settled(task_queue)
        assert state.queue_trouble is not None, "it was taken"
        return state.queue_trouble

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Operating"]:
        loops = [asyncio.create_task(each.run()) for each in (self.reconciler, self.rounds)]
        try:
            yield self
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    def administrator(self) -> pika.BlockingConnection:
        where = self.session.address
        url = where.amqp_url(username=where.username, password=where.password)
        return pika.BlockingConnection(pika.URLParameters(f"{url}?heartbeat=0"))

    def declare(self, queue: str, **arguments: Any) -> None:
        """A queue as somebody else makes it, classic unless the arguments say otherwise."""
        named = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
        connection = self.administrator()
        channel: BlockingChannel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments=named)
        connection.close()
        self.session.doubt()

    async def put(self, *path: str, **body: Any) -> None:
        """An object as somebody else makes it, by the management API."""
        await opened(self.session).management._write("PUT", *path, body=body)
        self.session.doubt()
