"""The one loop that counts jobs, sets the number of workers, and writes TaskQueues' status."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from longshore.contract.names import dead_queue_name
from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.guards import apart, read_depths, told
from longshore_operator.app.record import Record, Records
from longshore_operator.app.reporting.task_queues import Statuses
from longshore_operator.app.scaling.census import Census
from longshore_operator.app.scaling.execution import Sight, Workers
from longshore_operator.app.scaling.limits import Limits, sharers
from longshore_operator.app.scaling.obstacles import Obstacles
from longshore_operator.app.scaling.protection import Protection
from longshore_operator.app.scaling.sleepers import LOOK_EVERY, Sleepers
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.scaling import Limit, Observation, Policy, ceiling_of, decide
from longshore_operator.core.scaling.holds import held, without_shrink
from longshore_operator.core.scaling.waits import longest_wait, waiting
from longshore_operator.core.workers.missing import missing

logger = logging.getLogger(__name__)

DEAD_EVERY = 10
"""Ticks between looks at one dead-letter queue; nothing is decided by them."""

FORGET_EVERY = 60
"""Ticks between two looks for pods of which nothing need be remembered any more."""

PATIENCE = 0.8
"""Seconds that a tick waits for depths. TaskQueues of a Broker that takes longer have their turn
when it answers; all others go on."""

WRITERS = 16
"""Calls to Kubernetes at the same time."""

WATCH_LAG = 5.0
"""Seconds for which a Deployment that was just made may be missing in what Kubernetes shows."""

Depths = Mapping[str, Depth | Missing]


class Ticked(Protocol):
    """Told how long a tick took, and how long after the one before it began, in seconds."""

    def __call__(self, *, took: float, interval: float | None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """A look at these queues of one Broker."""

    session: Session
    task: asyncio.Task[Depths]
    queues: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Scaler:
    """The loop. `clock` is monotonic."""

    world: World
    brokers: Brokers
    records: Records
    workers: Workers
    protection: Protection
    census: Census
    obstacles: Obstacles
    sleepers: Sleepers
    statuses: Statuses
    clock: Callable[[], float]
    interval: float
    wake_reconciler: Callable[[], None]
    limits: Limits
    policies: Mapping[str, Policy]
    last_tick: float
    """When a tick ended, at first when the loop was made; the operator's liveness."""

    ticked: Ticked

    _ticks: int = 0
    _reading: dict[str, _Reading] = field(default_factory=dict)
    """By Broker."""

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
        """Until the next tick. Who sleeps and gets a job is not left waiting for it."""

        def wake(key: Key, depth: Depth) -> None:
            if (task_queue := self.world.task_queue(key)) and task_queue.spec:
                depths = {task_queue.spec.broker.name: {task_queue.source: depth}}
                self._attend(key, task_queue, depths, group=group)

        until = self.clock() + seconds
        while (left := until - self.clock()) > LOOK_EVERY:
            await asyncio.sleep(LOOK_EVERY)
            self.sleepers.look(wake, skip=self._reading, group=group)
        await asyncio.sleep(max(0.0, left))

    async def tick(self, group: asyncio.TaskGroup) -> None:
        """Look at every TaskQueue once; what is to be done about one is a task of `group`.

        Nothing is waited for but the depths, and for these not long: a call to Kubernetes that
        takes its time holds up its own TaskQueue and no other.
        """
        if not self.world.is_complete:
            return
        self._ticks += 1
        present = dict(self.world.task_queues())
        self.records.keep_only(set(present))
        if self._ticks % FORGET_EVERY == 0:
            self.census.forget()
            self.obstacles.forget(now=self.clock())
            self.protection.forget()
        done = await self._read_depths(present, group=group)
        depths = {name: reading.task.result() for name, reading in done.items()}
        self.limits.divide(
            sharers(present, world=self.world, records=self.records, now=self.clock())
        )
        for key, task_queue in present.items():
            broker = task_queue.spec.broker.name if task_queue.spec else ""
            is_new = (
                broker in done
                and task_queue.source not in done[broker].queues
                and self._is_declared(key, task_queue)
            )  # declared while others were read: its turn is in the next tick
            if not (task_queue.is_deleting or is_new or broker in self._reading):
                self._attend(key, task_queue, depths, group=group)

    async def _read_depths(
        self, present: Mapping[Key, TaskQueueObject], *, group: asyncio.TaskGroup
    ) -> dict[str, _Reading]:
        """Look at all declared queues but those that go. Brokers that have answered; those that
        have yet to are in `_reading`."""
        wanted: dict[str, list[str]] = {name: [] for name in self.brokers.sessions()}
        for turn, (key, task_queue) in enumerate(present.items()):
            if task_queue.spec is None or task_queue.is_deleting:
                continue
            if not self._is_declared(key, task_queue):
                continue
            queues = wanted.get(task_queue.spec.broker.name)
            if queues is None:
                continue
            queues.append(task_queue.source)
            is_new = self.records.of(key, task_queue).dead is None
            if is_new or (turn + self._ticks) % DEAD_EVERY == 0:
                queues.append(dead_queue_name(task_queue.owner.queue))
        # What is read for a session that has ended says nothing of the one after it.
        self._reading = {
            name: each
            for name, each in self._reading.items()
            if each.session is self.brokers.session(name)
        }
        for name, queues in wanted.items():
            session = self.brokers.session(name)
            if session and name not in self._reading:
                session.link.fleet.forget_silent()
                task = group.create_task(read_depths(session.link.depths, queues))
                self._reading[name] = _Reading(session=session, task=task, queues=frozenset(queues))
        if self._reading:
            await asyncio.wait([each.task for each in self._reading.values()], timeout=PATIENCE)
        done = {name: each for name, each in self._reading.items() if each.task.done()}
        self._reading = {name: each for name, each in self._reading.items() if name not in done}
        return done

    def _attend(
        self,
        key: Key,
        task_queue: TaskQueueObject,
        depths: Mapping[str, Depths],
        *,
        group: asyncio.TaskGroup,
    ) -> None:
        """One TaskQueue: count, decide; scale and say so in a task of `group`, if there is need."""
        with apart(key):
            record = self.records.of(key, task_queue)
            if record.is_acting:
                return
            sight = self._look(key, task_queue, record, depths)
            if self.obstacles.is_ask_due(sight, record, epoch=self.records.now() / 1000):
                record.is_asking = True
                group.create_task(self._ask(sight, record))
            if not self._is_at_rest(sight, task_queue, record):
                record.is_acting = True
                group.create_task(self._act(task_queue, record, sight))

    def _look(
        self,
        key: Key,
        task_queue: TaskQueueObject,
        record: Record,
        depths: Mapping[str, Depths],
    ) -> Sight:
        spec = task_queue.spec
        session = self.brokers.session(spec.broker.name) if spec else None
        fleet, queue = session.link.fleet if session else None, task_queue.owner.queue
        sight = Sight(
            key=key,
            deployment=self.world.deployment(key),
            pods=self.world.pods(key),
            reports=fleet.reports(queue) if fleet else {},
            now=self.clock(),
        )
        if spec is None or session is None or fleet is None:
            # Nothing can be known of jobs, so nothing is decided.
            record.decision = record.memory = record.ready = None
            record.unanswered_since = record.blockage = None
            self._note(sight, record)
            return sight
        limits = self.limits.of(
            key, spec.scaling, current=self.workers.replicas(sight, record) or 0
        )
        ceiling = ceiling_of(spec.scaling, limits=limits)
        if self.obstacles.is_full(sight, record):  # a quota is a ceiling too
            ceiling = min(ceiling, self.workers.replicas(sight, record) or 0)
        sight = replace(sight, ceiling=ceiling)
        most = spec.scaling.max
        record.tally = record.tally.counted(sight.reports.values(), most=most)
        heard = record.recent.seen
        record.recent = record.recent.learned(sight.reports, sight.pods, now=sight.now, most=most)
        is_declared = self._is_declared(key, task_queue)
        self._count(
            record,
            task_queue,
            reports=sight.reports,
            depths=depths.get(spec.broker.name, {}),
            session=session,
            is_declared=is_declared,
        )
        record.history = record.history.noted(
            epoch=self.records.now() / 1000,
            backlog=record.ready,
            workers=self.workers.replicas(sight, record),
            wait=longest_wait(sight.reports, before=heard),
        )
        if is_declared:
            self._decide(spec, record=record, sight=sight, limits=limits)
            self.workers.order(sight, record, fleet=fleet, queue=queue)
        self._note(sight, record)
        return sight

    def _note(self, sight: Sight, record: Record) -> None:
        asked = self.workers.replicas(sight, record)
        record.missing = missing(
            record.missing, replicas=asked, pods=len(sight.staying), now=sight.now
        )
        self.obstacles.note(sight, record, asked=asked, epoch=self.records.now() / 1000)

    def _again(self, task_queue: TaskQueueObject, sight: Sight) -> Sight:
        """The workers as they are by now."""
        spec = task_queue.spec
        session = self.brokers.session(spec.broker.name) if spec else None
        return replace(
            sight,
            deployment=self.world.deployment(sight.key),
            pods=self.world.pods(sight.key),
            reports=session.link.fleet.reports(task_queue.owner.queue) if session else {},
            now=self.clock(),
        )

    def _is_at_rest(self, sight: Sight, task_queue: TaskQueueObject, record: Record) -> bool:
        """Whether there is nothing to do: so with most of a thousand, each second."""
        return (
            not sight.pods
            and not self.workers.is_due(sight, record)
            and not self.obstacles.is_retry_due(sight, record)
            and self.statuses.is_written(
                sight.key, task_queue, record=record, reports=sight.reports
            )
        )

    async def _ask(self, sight: Sight, record: Record) -> None:
        with apart(sight.key), told(sight.key):
            await self.obstacles.ask(sight, record, epoch=self.records.now() / 1000)

    async def _act(self, task_queue: TaskQueueObject, record: Record, sight: Sight) -> None:
        key = sight.key
        try:
            with apart(key):
                async with self._writers:
                    await self._carry_out(task_queue, record, sight)
        finally:
            record.is_acting = False

    async def _carry_out(self, task_queue: TaskQueueObject, record: Record, sight: Sight) -> None:
        # One that fails does not keep the others from being done; the next tick is the retry.
        key, spec = sight.key, task_queue.spec
        with told(key):
            await self.workers.scale(
                sight, record, look_again=lambda: self._again(task_queue, sight)
            )
        if spec is not None and self.brokers.session(spec.broker.name) is not None:
            with told(key):
                record.silent = await self.census.look(sight)
            with told(key):
                await self.obstacles.retry_pods(sight, record)
            with told(key):
                evictable = record.timeouts is None or record.timeouts.evictable
                await self.protection.keep(sight, spec, evictable=evictable)
        with told(key):
            await self.statuses.write(key, task_queue, record=record, reports=sight.reports)

    def _count(
        self,
        record: Record,
        task_queue: TaskQueueObject,
        *,
        reports: Mapping[str, WorkerReport],
        depths: Depths,
        session: Session,
        is_declared: bool,
    ) -> None:
        # A queue that has lost its quorum counts 0 jobs: how many it holds is unknown.
        jobs, dead = (
            depths.get(queue) if session.answers(queue) else None
            for queue in (task_queue.source, dead_queue_name(task_queue.owner.queue))
        )
        if isinstance(jobs, Missing) or isinstance(dead, Missing):
            self._doubt(record)
        silent, quorum = is_declared and jobs is None, session.answers(task_queue.source)
        record.note_answer(task_queue.source, is_silent=silent, has_quorum=quorum, now=self.clock())
        record.ready = waiting(jobs, reports=reports, cordoned=record.cordons.ordered)
        if isinstance(dead, Depth):
            record.dead = dead.ready

    def _decide(
        self, spec: TaskQueueSpec, *, record: Record, sight: Sight, limits: Sequence[Limit]
    ) -> None:
        if sight.deployment is None and self.clock() - record.reconciled_at > WATCH_LAG:
            self._doubt(record)
        workers = self.workers.observed(sight, record, epoch=self.records.now() / 1000)
        replicas = self.workers.replicas(sight, record)
        decision = decide(
            spec.scaling,
            slots=spec.worker.slots,
            observation=Observation(
                ready=record.ready,
                workers=workers,
                replicas=replicas,
                service=record.recent.service,
                startup=record.recent.startup,
                quickest=record.recent.quickest,
                finished=record.recent.finished,
                unseen=sight.unseen,
                is_rolling=sight.deployment is not None and sight.deployment.is_rolling,
            ),
            memory=record.memory,
            now=sight.now,
            limits=limits,
            policies=self.policies,
        )
        if other := self.world.autoscalers.get(sight.key):
            why = (
                f"HorizontalPodAutoscaler {other} sets the number of these workers: delete it, and "
                "the KEDA ScaledObject that made it; until then Longshore leaves them alone"
            )
            decision = held(decision, workers, reason="ForeignAutoscaler", why=why)
        record.refusals = record.refusals.judged(wanted=decision.wanted)
        if replicas is not None and record.refusals.keeps(before=replicas, now=sight.now):
            why = "Kubernetes has refused to take workers away: tried again in a moment"
            decision = without_shrink(decision, workers, replicas=replicas, why=why)
        record.decision, record.memory = decision, decision.memory

    def _is_declared(self, key: Key, task_queue: TaskQueueObject) -> bool:
        """Whether its queues stand. Where it is refused now, its Deployment shows that they did
        once, before an operator that knew it ended: it is made after them."""
        record = self.records.of(key, task_queue)
        is_refused = record.topology is not None and record.session is not None
        return record.is_declared() or (is_refused and self.world.deployment(key) is not None)

    def _doubt(self, record: Record) -> None:
        if not record.is_doubted and not record.is_busy:
            record.is_doubted = True
            if record.session is not None:
                record.session.doubt()
            self.wake_reconciler()
