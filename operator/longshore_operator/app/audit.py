"""Finds objects that are gone though the watches still show them.

After an interruption that is longer than the API server's memory (410), kopf lists anew and keeps
what is no longer there (1.45), of any kind. So all uids are listed when a watch has begun anew, and
now and then, since kopf calls nobody for a list that is empty. Only metadata is read.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from longshore.logs import Log
from longshore_operator.app.ports.kubernetes import Lists
from longshore_operator.app.watched.world import Kind, World
from longshore_operator.errors import OperatorError

log = Log(__name__)

EVERY = 30.0
"""Seconds between two looks."""

PAUSE = 1.0
"""Seconds from the first event of a new list to a look: the others follow at once."""


@dataclass(slots=True, kw_only=True)
class Audit:
    """Compares what the watches show with lists. `namespace` is the only one that is watched; all
    are where it is None."""

    world: World
    cluster: Lists
    namespace: str | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            # `wait_for` may swallow being cancelled (Python 3.11).
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._wake.wait()
            await asyncio.sleep(PAUSE)
            self._wake.clear()
            if self.world.is_complete:
                await self.look()

    async def look(self) -> None:
        """Note what is gone, and forget of what was noted all that the watches show no more."""
        for kind in Kind:
            shown = self.world.shown(kind)  # before it is listed: what is younger is no phantom
            if not shown:
                continue
            try:
                there = await self.cluster.uids(kind, namespace=self.namespace)
            except OperatorError as error:
                log.warning("audit-failed", kind=kind, error=str(error))
                continue
            if gone := shown - there - self.world.gone:
                log.warning("objects-gone-unseen", kind=kind, uids=sorted(gone))
                self.world.gone |= gone
        self.world.forget_gone()
