"""Looks at TaskQueues without workers more often than the ticks do: their first job has to wait
for a worker to start, and should not wait for the operator as well."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from longshore_operator.app.guards import read_depths
from longshore_operator.app.ports.workloads import ListedWorkers
from longshore_operator.app.reconciling.state import Reconciled
from longshore_operator.app.scaling.state import ScalingRecord
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.rabbitmq.depth import Depth

LOOK_EVERY = 0.2
"""Seconds between two looks."""

MOST = 50
"""TaskQueues in one look; if there are more, the others follow in the next look."""

Wake = Callable[[Key, Depth], None]
"""Called with a TaskQueue that now has jobs, and their number."""


@dataclass(slots=True, kw_only=True)
class Sleepers:
    """Finds TaskQueues without workers that have received a job."""

    world: World
    workloads: ListedWorkers
    brokers: Sessions
    states: States[ScalingRecord]
    reconciled: Callable[[Key, TaskQueueObject], Reconciled]
    _looks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """The last look at each Broker."""

    _turn: int = 0

    def look(self, wake: Wake, *, skip: Collection[str], group: asyncio.TaskGroup) -> None:
        """Start a look at each Broker, as tasks of `group`, except those in `skip` and those that
        have not yet answered the last one."""
        for name, queues in self._sleeping().items():
            session, last = self.brokers.session(name), self._looks.get(name)
            if session and name not in skip and (last is None or last.done()):
                look = self._look(name, session, queues, wake)
                self._looks[name] = group.create_task(look)

    async def _look(
        self, name: str, session: Session, queues: Mapping[str, Key], wake: Wake
    ) -> None:
        # So few queues are read faster than more channels are opened.
        depths = await read_depths(session.link.depths, queues, channels=1)
        if self.brokers.session(name) is not session:
            return  # the answer says nothing about the next session
        for queue, depth in depths.items():
            sleeper = self._sleeper(queues[queue])
            if sleeper and sleeper.source == queue and isinstance(depth, Depth) and depth.ready:
                wake(queues[queue], depth)

    def _sleeping(self) -> dict[str, dict[str, Key]]:
        """Return TaskQueues without workers by Broker and queue, as many as one look takes."""
        found = defaultdict[str, dict[str, Key]](dict)
        room, keys = MOST, list(self.world.queues)
        self._turn %= max(1, len(keys))
        for key in keys[self._turn :] + keys[: self._turn]:
            self._turn += 1
            sleeper = self._sleeper(key)
            if sleeper and sleeper.spec:
                found[sleeper.spec.broker.name][sleeper.source] = key
                room -= 1
                if not room:
                    break
        return found

    def _sleeper(self, key: Key) -> TaskQueueObject | None:
        """Return the TaskQueue if it has no workers, had no jobs at the last look, and remains."""
        record, task_queue = self.states.known(key), self.world.task_queue(key)
        if (
            record is None
            or record.state.ready != 0
            or record.is_acting
            or self.workloads.workers(key)
            or task_queue is None
            or task_queue.is_deleting
            or not self.reconciled(key, task_queue).is_declared
        ):
            return None
        return task_queue
