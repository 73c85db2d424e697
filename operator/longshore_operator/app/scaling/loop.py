"""The scaling loop: observes each TaskQueue, plans how many workers it needs, executes the plan.

The plan is a pure step (`core.scaling.step`). Nothing is written to a status here.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from longshore.contract.names import dead_queue_name
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.guards import isolated, told
from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.reconciling.state import Reconciled
from longshore_operator.app.scaling.census import Census
from longshore_operator.app.scaling.depths import Depths, Reading, Readings
from longshore_operator.app.scaling.execution import Execution
from longshore_operator.app.scaling.limits import CurrentLimits, sharers
from longshore_operator.app.scaling.obstacles import Obstacles
from longshore_operator.app.scaling.protection import Protection
from longshore_operator.app.scaling.sleepers import LOOK_EVERY, Sleepers
from longshore_operator.app.scaling.state import Scaled, ScalingRecord
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.scaling import Policy
from longshore_operator.core.scaling.sight import Sight, asked_for
from longshore_operator.core.scaling.step import is_due, step

DEAD_EVERY = 10
"""Ticks between two looks at one dead-letter queue, on which no decision depends."""

FORGET_EVERY = 60
"""Ticks between two removals of remembered pods that no longer matter."""

WRITERS = 16
"""Simultaneous calls to Kubernetes."""

WATCH_LAG = 5.0
"""Seconds for which the watch may not show a Deployment that was just created."""


class Ticked(Protocol):
    """Takes how long a tick took and how long after the previous one it began, in seconds."""

    def __call__(self, *, took: float, interval: float | None) -> None: ...


@dataclass(slots=True, kw_only=True)
class Scaler:
    """The scaling loop. `clock` is monotonic, `epoch` returns seconds since the epoch, `new_id` a
    text that it has not returned before."""

    world: World
    brokers: Sessions
    workloads: Workloads
    states: States[ScalingRecord]
    reconciled: Callable[[Key, TaskQueueObject], Reconciled]
    doubt: Callable[[Key, TaskQueueObject], None]
    """Has a TaskQueue reconciled, because something of it seems to be missing."""

    readings: Readings
    protection: Protection
    census: Census
    obstacles: Obstacles
    sleepers: Sleepers
    limits: CurrentLimits
    policies: Mapping[str, Policy]
    clock: Callable[[], float]
    epoch: Callable[[], float]
    new_id: Callable[[], str]
    interval: float
    last_tick: float
    """When the last tick ended, or the loop was created; the operator's liveness depends on it."""

    ticked: Ticked

    _ticks: int = 0
    _writers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITERS))

    async def run(self) -> None:
        """Tick until cancelled."""
        before: float | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                started = self.clock()
                await self.tick(group)
                self.last_tick = self.clock()
                interval = None if before is None else started - before
                self.ticked(took=self.last_tick - started, interval=interval)
                before = started
                await self._rest(max(0.05, self.interval - (self.last_tick - started)), group=group)

    async def _rest(self, seconds: float, *, group: asyncio.TaskGroup) -> None:
        """Sleep until the next tick, but attend to idle TaskQueues that receive a job."""

        def wake(key: Key, depth: Depth) -> None:
            if (task_queue := self.world.task_queue(key)) and task_queue.spec:
                depths = {task_queue.spec.broker.name: {task_queue.source: depth}}
                self._attend(key, task_queue, depths, group=group)

        until = self.clock() + seconds
        while (left := until - self.clock()) > LOOK_EVERY:
            await asyncio.sleep(LOOK_EVERY)
            self.sleepers.look(wake, skip=self.readings.pending, group=group)
        await asyncio.sleep(max(0.0, left))

    async def tick(self, group: asyncio.TaskGroup) -> None:
        """Look at every TaskQueue once; whatever must be done about one is a task of `group`.

        A tick waits only for the depths, and not for long. A slow call to Kubernetes delays its own
        TaskQueue and no other.
        """
        if not self.world.is_complete:
            return
        self._ticks += 1
        present = dict(self.world.task_queues())
        self.states.keep_only(present)
        if self._ticks % FORGET_EVERY == 0:
            self.census.forget()
            self.obstacles.forget(now=self.clock())
            self.protection.forget()
        done = await self.readings.read(self._wanted(present), group=group)
        depths = {name: reading.depths for name, reading in done.items()}
        self.limits.divide(
            sharers(present, workloads=self.workloads, states=self.states, now=self.clock())
        )
        for key, task_queue in present.items():
            broker = task_queue.spec.broker.name if task_queue.spec else ""
            is_unread = broker in self.readings.pending or self._is_new(key, task_queue, done)
            if not (task_queue.is_deleting or is_unread):
                self._attend(key, task_queue, depths, group=group)

    def _is_new(self, key: Key, task_queue: TaskQueueObject, done: Mapping[str, Reading]) -> bool:
        """Return whether it was declared while other queues were read; the next tick reads it."""
        reading = done.get(task_queue.spec.broker.name) if task_queue.spec else None
        return (
            reading is not None
            and task_queue.source not in reading.queues
            and self._is_declared(key, task_queue)
        )

    def _wanted(self, present: Mapping[Key, TaskQueueObject]) -> dict[str, list[str]]:
        """Return all declared queues by Broker, except those of TaskQueues in deletion."""
        wanted: dict[str, list[str]] = {name: [] for name in self.brokers.sessions()}
        for turn, (key, task_queue) in enumerate(present.items()):
            if task_queue.spec is None or task_queue.is_deleting:
                continue
            queues = wanted.get(task_queue.spec.broker.name)
            if queues is None or not self._is_declared(key, task_queue):
                continue
            queues.append(task_queue.source)
            is_new = self.states.of(key, task_queue).state.dead is None
            if is_new or (turn + self._ticks) % DEAD_EVERY == 0:
                queues.append(dead_queue_name(task_queue.owner.queue))
        return wanted

    def seen(self, key: Key, task_queue: TaskQueueObject) -> Scaled:
        """Return what the other loops may know of one TaskQueue now."""
        return self.states.of(key, task_queue).seen

    def _attend(
        self,
        key: Key,
        task_queue: TaskQueueObject,
        depths: Mapping[str, Depths],
        *,
        group: asyncio.TaskGroup,
    ) -> None:
        """Observe and plan; execute the plan in a task of `group` if it requires anything."""
        with isolated(key):
            record = self.states.of(key, task_queue)
            if record.is_acting:
                return
            sight = self._observe(key, task_queue, record, depths)
            self._plan(task_queue, record, sight)
            if self.obstacles.is_ask_due(sight, record):
                record.is_asking = True
                group.create_task(self._ask(sight, record))
            is_retry_due = self.obstacles.is_retry_due(sight, record)
            if sight.pods or is_retry_due or is_due(record.state, sight):
                record.is_acting = True
                group.create_task(self._act(task_queue, record, sight))

    def _observe(
        self,
        key: Key,
        task_queue: TaskQueueObject,
        record: ScalingRecord,
        depths: Mapping[str, Depths],
    ) -> Sight:
        spec, reachable = task_queue.spec, self._reachable(task_queue)
        sight = self._workers_now(key, task_queue)
        if spec is None or reachable is None:
            return replace(sight, words=record.words, remains=self.workloads.remains(key))
        found, reconciled = depths.get(spec.broker.name, {}), self.reconciled(key, task_queue)
        dead = dead_queue_name(task_queue.owner.queue)
        # A queue that has lost its quorum counts 0 jobs, so its real number is unknown.
        return replace(
            sight,
            queue=task_queue.source,
            jobs=found.get(task_queue.source) if reachable.answers(task_queue.source) else None,
            dead=found.get(dead) if reachable.answers(dead) else None,
            has_quorum=reachable.answers(task_queue.source),
            is_declared=self._is_declared(key, task_queue),
            is_overdue=sight.now - reconciled.at > WATCH_LAG,
            limits=self.limits.of(
                key,
                spec.scaling,
                current=asked_for(sight.deployment, record.state.asked) or 0,
            ),
            autoscaler=self.world.autoscalers.get(key),
            words=record.words,
            remains=self.workloads.remains(key),
        )

    def _workers_now(self, key: Key, task_queue: TaskQueueObject) -> Sight:
        session = self._reachable(task_queue)
        return Sight(
            key=key,
            deployment=self.workloads.workload(key),
            pods=self.workloads.workers(key),
            reports=session.link.fleet.reports(task_queue.owner.queue) if session else {},
            now=self.clock(),
            epoch=self.epoch(),
        )

    def _reachable(self, task_queue: TaskQueueObject) -> Session | None:
        spec = task_queue.spec
        return self.brokers.session(spec.broker.name) if spec else None

    def _plan(self, task_queue: TaskQueueObject, record: ScalingRecord, sight: Sight) -> None:
        session = self._reachable(task_queue)
        spec: TaskQueueSpec | None = task_queue.spec if session else None
        plan = step(record.state, sight, spec=spec, new_id=self.new_id, policies=self.policies)
        record.state = plan.state
        if plan.is_doubted:
            self.doubt(sight.key, task_queue)
        if session:
            for worker, order in plan.orders:
                session.link.fleet.order(order, queue=task_queue.owner.queue, worker=worker)

    async def _ask(self, sight: Sight, record: ScalingRecord) -> None:
        with isolated(sight.key), told(sight.key):
            await self.obstacles.ask(sight, record)

    async def _act(self, task_queue: TaskQueueObject, record: ScalingRecord, sight: Sight) -> None:
        try:
            with isolated(sight.key):
                async with self._writers:
                    await self._execute(task_queue, record, sight)
        finally:
            record.is_acting = False

    async def _execute(
        self, task_queue: TaskQueueObject, record: ScalingRecord, sight: Sight
    ) -> None:
        # A failed call does not prevent the others; the next tick is the retry.
        key, spec = sight.key, task_queue.spec
        execution = Execution(
            workloads=self.workloads,
            state=record.state,
            look_again=lambda: self._workers_now(key, task_queue),
        )
        try:
            with told(key):
                await execution.scale(sight)
        finally:
            record.state = execution.state
        if spec is None or self._reachable(task_queue) is None:
            return
        with told(key):
            record.silent = await self.census.look(sight)
        with told(key):
            await self.obstacles.retry_pods(sight, record)
        with told(key):
            timeouts = self.reconciled(key, task_queue).timeouts
            evictable = timeouts is None or timeouts.evictable
            await self.protection.keep(sight, spec, evictable=evictable)

    def _is_declared(self, key: Key, task_queue: TaskQueueObject) -> bool:
        """Return whether its queues exist. If they are refused now, an existing Deployment proves
        that they were declared before the operator restarted, because it is created after them."""
        reconciled = self.reconciled(key, task_queue)
        is_refused = reconciled.queue_trouble is not None and reconciled.session is not None
        return reconciled.is_declared or (is_refused and self.workloads.workload(key) is not None)
