"""Finds objects that are gone although the watches still show them.

After an interruption that is longer than the API server's memory (410), kopf lists anew and keeps
objects that no longer exist, of any kind (1.45). So this lists all uids when a watch has started
anew, and now and then, because kopf reports nothing for an empty list. Only metadata is read.
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
"""Seconds from the first event of a new list to a look; the other events follow immediately."""


@dataclass(slots=True, kw_only=True)
class Audit:
    """Compares what the watches show with lists. If `namespace` is None, all namespaces are
    watched; otherwise only that one is."""

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
        """Note objects that are gone, and forget those that the watches no longer show."""
        for kind in Kind:
            shown = self.world.shown(kind)  # before the list, so that newer objects do not count
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
