"""The reporting loop: writes every status, and posts Events when a condition changes.

It reads what the other loops know and never delays them: if Kubernetes does not accept a status,
the wait happens here.
"""

import asyncio
from dataclasses import dataclass, field

from longshore.logs import Log
from longshore_operator.app.guards import isolated, told
from longshore_operator.app.reporting.brokers import BrokerStatuses
from longshore_operator.app.reporting.state import Reported
from longshore_operator.app.reporting.task_queues import TaskQueueStatuses
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import BrokerObject, TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.errors import OperatorError

log = Log(__name__)

WRITERS = 16
"""Statuses written at the same time."""


@dataclass(slots=True, kw_only=True)
class StatusReporter:
    """The reporting loop, which looks for changes every `interval` seconds."""

    world: World
    task_queues: TaskQueueStatuses
    brokers: BrokerStatuses
    interval: float
    states: States[Reported] = field(default_factory=lambda: States(new=lambda _: Reported()))
    _brokers: set[str] = field(default_factory=set)
    """Brokers whose status is being written."""

    _writers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(WRITERS))

    async def run(self) -> None:
        """Report until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self.look(group)
                await asyncio.sleep(self.interval)

    def look(self, group: asyncio.TaskGroup) -> None:
        """Start to write each status that is not up to date, as tasks of `group`."""
        if not self.world.is_complete:
            return  # Brokers' statuses count TaskQueues, and not all of those are known yet
        present = dict(self.world.task_queues())
        self.states.keep_only(present)
        for key, task_queue in present.items():
            reported = self.states.of(key, task_queue)
            with isolated(key):
                if (
                    not task_queue.is_deleting
                    and not reported.is_writing
                    and not self.task_queues.is_written(key, task_queue, reported)
                ):
                    reported.is_writing = True
                    group.create_task(self._write(key, task_queue, reported))
        for broker in self.world.brokers():
            if broker.name not in self._brokers:
                self._brokers.add(broker.name)
                group.create_task(self._write_broker(broker))

    async def _write(self, key: Key, task_queue: TaskQueueObject, reported: Reported) -> None:
        try:
            with isolated(key), told(key):
                async with self._writers:
                    await self.task_queues.write(key, task_queue, reported)
        finally:
            reported.is_writing = False

    async def _write_broker(self, broker: BrokerObject) -> None:
        try:
            async with self._writers:
                await self.brokers.write(broker)
        except Exception as error:
            # Faults in one Broker's fields must not end the others.
            log.warning(
                "status-not-written",
                broker=broker.name,
                error=str(error),
                exc_info=not isinstance(error, OperatorError),
            )
        finally:
            self._brokers.discard(broker.name)
