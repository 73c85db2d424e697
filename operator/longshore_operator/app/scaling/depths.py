"""Reads the depths of all queues of a Broker at once. A slow Broker does not delay the others."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from longshore_operator.app.guards import read_depths
from longshore_operator.app.sessions.session import Session, Sessions
from longshore_operator.core.rabbitmq.depth import Depth, Missing

PATIENCE = 0.8
"""Seconds that a tick waits for depths. If a Broker takes longer, its TaskQueues are looked at when
it answers; all others go on."""

Depths = Mapping[str, Depth | Missing]
"""By queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at the depths of `queues` on one Broker."""

    session: Session
    task: asyncio.Task[Depths]
    queues: frozenset[str]

    @property
    def depths(self) -> Depths:
        """The depths that were found, once the reading is done."""
        return self.task.result()


@dataclass(slots=True, kw_only=True)
class Readings:
    """At most one reading of each Broker at a time."""

    brokers: Sessions
    pending: dict[str, Reading] = field(default_factory=dict)
    """Unfinished readings, by Broker."""

    async def read(
        self, wanted: Mapping[str, Iterable[str]], *, group: asyncio.TaskGroup
    ) -> dict[str, Reading]:
        """Start to read these queues, by Broker, as tasks of `group`; return the readings that are
        done after a moment."""
        # A reading for a session that has ended says nothing about the next session.
        self.pending = {
            name: each
            for name, each in self.pending.items()
            if each.session is self.brokers.session(name)
        }
        for name, names in wanted.items():
            session = self.brokers.session(name)
            if session and name not in self.pending:
                queues = list(names)
                session.link.fleet.forget_silent()
                task = group.create_task(read_depths(session.link.depths, queues))
                self.pending[name] = Reading(session=session, task=task, queues=frozenset(queues))
        if self.pending:
            await asyncio.wait([each.task for each in self.pending.values()], timeout=PATIENCE)
        done = {name: each for name, each in self.pending.items() if each.task.done()}
        self.pending = {name: each for name, each in self.pending.items() if name not in done}
        return done
