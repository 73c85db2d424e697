"""The one loop that counts jobs, sets the number of workers, and writes TaskQueues' status."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from longshore.contract.names import dead_queue_name, worker_name
from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.broker import Depth, Missing
from longshore_operator.app.brokers import Brokers
from longshore_operator.app.cluster import Cluster
from longshore_operator.app.limits import Limits, Sharer
from longshore_operator.app.objects import TaskQueueObject
from longshore_operator.app.record import Record, Records
from longshore_operator.app.statuses import Statuses
from longshore_operator.app.world import Key, World
from longshore_operator.core.pods import Pod
from longshore_operator.core.scaling import Observation, Policy, Worker, decide
from longshore_operator.errors import OperatorError

logger = logging.getLogger(__name__)

DEAD_EVERY = 3
"""Ticks between looks at one dead-letter queue; nothing is decided by them."""

WRITERS = 16
"""Calls to Kubernetes at the same time."""

Depths = Mapping[str, Depth | Missing]


@dataclass(slots=True, kw_only=True)
class Scaler:
    """The loop. `clock` is monotonic."""

    world: World
    brokers: Brokers
    cluster: Cluster
    records: Records
    statuses: Statuses
    clock: Callable[[], float]
    interval: float
    wake_reconciler: Callable[[], None]
    limits: Limits
    policies: Mapping[str, Policy]
    last_tick: float
    """When a tick ended, at first when the loop was made; the operator's liveness."""

    _ticks: int = 0
    _writers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITERS))

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            started = self.clock()
            await self.tick()
            self.last_tick = self.clock()
            await asyncio.sleep(max(0.05, self.interval - (self.last_tick - started)))

    async def tick(self) -> None:
        """Look at every TaskQueue once."""
        if not self.world.is_complete:
            return
        self._ticks += 1
        present = dict(self.world.task_queues())
        self.records.keep_only(set(present))
        pending = {key for key, queue in present.items() if not self._is_declared(key, queue)}
        depths = await self._read_depths(present)
        self.limits.divide(self._sharers(present))
        async with asyncio.TaskGroup() as group:
            for key, task_queue in present.items():
                if key in pending and self._is_declared(key, task_queue):
                    continue  # declared while others were read; its turn is in the next tick
                if not task_queue.is_deleting:
                    group.create_task(self._attend(key, task_queue, depths))

    def _sharers(self, present: Mapping[Key, TaskQueueObject]) -> Iterator[tuple[Key, Sharer]]:
        for key, task_queue in present.items():
            if task_queue.spec is not None and task_queue.spec.scaling.budget is not None:
                deployment = self.world.deployment(key)
                yield (
                    key,
                    Sharer(
                        scaling=task_queue.spec.scaling,
                        current=deployment.replicas if deployment else None,
                        decision=self.records.of(key, task_queue).decision,
                    ),
                )

    async def _read_depths(self, present: Mapping[Key, TaskQueueObject]) -> dict[str, Depths]:
        """Depths of all declared queues, by Broker."""
        wanted: dict[str, list[str]] = {name: [] for name in self.brokers.sessions()}
        for turn, (key, task_queue) in enumerate(present.items()):
            if task_queue.spec is None or not self._is_declared(key, task_queue):
                continue
            queues = wanted.get(task_queue.spec.broker.name)
            if queues is None:
                continue
            queues.append(task_queue.owner.queue)
            if (turn + self._ticks) % DEAD_EVERY == 0:
                queues.append(dead_queue_name(task_queue.owner.queue))
        sessions = [(name, self.brokers.session(name), queues) for name, queues in wanted.items()]
        live = [(name, session, queues) for name, session, queues in sessions if session]
        for _, session, _ in live:
            session.link.fleet.forget_silent()
        found = await asyncio.gather(
            *(session.link.depths.read(queues) for _, session, queues in live)
        )
        return {name: depths for (name, _, _), depths in zip(live, found, strict=True)}

    async def _attend(
        self, key: Key, task_queue: TaskQueueObject, depths: Mapping[str, Depths]
    ) -> None:
        """One TaskQueue: count, decide, scale, say so."""
        record, spec = self.records.of(key, task_queue), task_queue.spec
        reports: Mapping[str, WorkerReport] = {}
        session = self.brokers.session(spec.broker.name) if spec else None
        if spec is None or session is None:
            # Nothing can be known, so nothing is decided.
            record.decision = record.memory = record.ready = None
        else:
            reports = session.link.fleet.reports(task_queue.owner.queue)
            record.tally = record.tally.counted(reports.values())
            self._count(record, task_queue, reports=reports, depths=depths[spec.broker.name])
            if record.is_declared():
                self._decide(key, spec, record=record, reports=reports)
        try:
            async with self._writers:
                if record.decision is not None:
                    await self._scale(key, record)
                await self.statuses.write(key, task_queue, record=record, reports=reports)
        except OperatorError as error:
            # The next tick is the retry.
            logger.warning(
                "tick_failed", extra={"task_queue": f"{key[0]}/{key[1]}", "why": str(error)}
            )

    def _count(
        self,
        record: Record,
        task_queue: TaskQueueObject,
        *,
        reports: Mapping[str, WorkerReport],
        depths: Depths,
    ) -> None:
        queue = task_queue.owner.queue
        jobs, dead = depths.get(queue), depths.get(dead_queue_name(queue))
        if isinstance(jobs, Missing) or isinstance(dead, Missing):
            self._doubt(record)
        record.ready = jobs.ready if isinstance(jobs, Depth) else None
        consuming = any(not report.draining for report in reports.values())
        if jobs == Depth(ready=0, consumers=0) and consuming:
            # A quorum queue without a leader answers so, and without any error.
            record.ready = None
        if isinstance(dead, Depth):
            record.dead = dead.ready

    def _decide(
        self,
        key: Key,
        spec: TaskQueueSpec,
        *,
        record: Record,
        reports: Mapping[str, WorkerReport],
    ) -> None:
        deployment = self.world.deployment(key)
        if deployment is None and self.clock() - record.reconciled_at > self.interval:
            self._doubt(record)
        record.decision = decide(
            spec.scaling,
            slots=spec.worker.slots,
            observation=Observation(
                ready=record.ready,
                workers=_as_if_cordoned(
                    tuple(
                        _worker(pod, reports.get(pod.name))
                        for pod in self.world.pods(key)
                        if not pod.ending
                    ),
                    asked=record.decision.cordon if record.decision else (),
                ),
                replicas=deployment.replicas if deployment else None,
                finished=record.tally.succeeded + record.tally.failed,
            ),
            memory=record.memory,
            now=self.clock(),
            limits=self.limits.of(
                key, spec.scaling, current=(deployment.replicas or 0) if deployment else 0
            ),
            policies=self.policies,
        )
        record.memory = record.decision.memory

    async def _scale(self, key: Key, record: Record) -> None:
        deployment, decision = self.world.deployment(key), record.decision
        if deployment is None or decision is None or decision.replicas is None:
            return
        if decision.replicas != deployment.replicas:
            logger.info(
                "scaled",
                extra={
                    "task_queue": f"{key[0]}/{key[1]}",
                    "from": deployment.replicas,
                    "to": decision.replicas,
                    "why": "; ".join(decision.why),
                },
            )
            await self.cluster.scale(
                namespace=key[0], name=worker_name(key[1]), replicas=decision.replicas
            )

    def _is_declared(self, key: Key, task_queue: TaskQueueObject) -> bool:
        return self.records.of(key, task_queue).is_declared()

    def _doubt(self, record: Record) -> None:
        if not record.is_doubted and not record.is_busy:
            record.is_doubted = True
            if record.session is not None:
                record.session.doubt()
            self.wake_reconciler()


def _worker(pod: Pod, report: WorkerReport | None) -> Worker:
    # A worker's own word first: Kubernetes may not have noticed yet that it runs.
    if report is None:
        return Worker(name=pod.name, state="unknown" if pod.running else "starting")
    return Worker(
        name=pod.name,
        state="busy" if report.busy or report.held else "idle",
        held=max(report.held, report.busy),
        settled=report.succeeded + report.failed + report.dead,
    )


def _as_if_cordoned(workers: tuple[Worker, ...], *, asked: tuple[str, ...]) -> tuple[Worker, ...]:
    """Until workers can be cordoned: none goes before all are idle, so any may be the one."""
    if any(worker.state in ("busy", "unknown") for worker in workers):
        return workers
    return tuple(replace(worker, cordoned=worker.name in asked) for worker in workers)
