"""`prefetch`: as many jobs in the worker as will start soon, and no more.

A short job is done sooner than the broker sends the next, so it needs others that wait here. A long
one must have none behind it: they would start elsewhere. With a number in the place of `auto` it is
that many, but for slots whose jobs the broker has taken back: they run on until they end.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MAX_WAIT = 0.1
"""Seconds that a job may wait in the worker."""

MAX_PREFETCH = 128
"""Twice as many gain nothing measurable."""

STUCK = 0.05
"""Seconds that a job runs before it is taken for a long one that holds others up."""

LOOK_INTERVAL = 0.025
"""Seconds between two looks while jobs are here."""

GROW_INTERVAL = 1.0
"""Seconds between two changes to more: each costs the time in which no delivery is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Jobs that a worker may hold: one for each of its `slots`, and `most` while they are short."""

    slots: int
    most: int


def prefetch_for(mean: float | None, *, bounds: Bounds) -> int:
    """Jobs to hold when one takes `mean` seconds; one per slot while that is unknown."""
    slots = bounds.slots
    if mean is None:
        return slots
    ahead = MAX_PREFETCH if mean * MAX_PREFETCH < MAX_WAIT else int(MAX_WAIT / mean)
    return max(slots, min(MAX_PREFETCH, bounds.most, slots * (1 + ahead)))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is to be known at one moment."""

    mean: float | None
    """Seconds that jobs take lately."""

    is_stuck: bool
    """Jobs wait, and every slot is taken by one that runs for longer than jobs do lately."""

    taken: int
    """Slots whose jobs belong to a consumer of before."""

    before: int = 0
    """Jobs here that belong to a consumer of before, running or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Hold up to `prefetch` jobs; first give back what waits, if `gives_back`."""

    prefetch: int
    gives_back: bool


def plan(view: View, *, now: int, bounds: Bounds) -> Plan | None:
    """What to change where `now` is the prefetch; None for nothing."""
    slots = bounds.slots
    wanted = prefetch_for(view.mean, bounds=bounds)
    if (view.is_stuck and now) or (wanted <= slots and now > slots):
        return Plan(prefetch=slots, gives_back=True)
    if now < slots:
        return Plan(prefetch=slots, gives_back=False) if slots - view.taken > now else None
    if wanted >= 2 * now:
        return Plan(prefetch=wanted, gives_back=False)
    return None


def fixed_prefetch(prefetch: int, view: View, *, slots: int) -> int:
    """Jobs to ask for where there may be `prefetch` in all, by the share of slots that are free."""
    free = max(0, slots - view.taken)
    return max(0, min(math.ceil(prefetch * free / slots), prefetch - view.before))


def first(prefetch: int, view: View, *, slots: int) -> int:
    """Jobs to ask for on a new connection, of which there were `prefetch` on the one before."""
    return max(0, slots - view.taken) if view.taken else prefetch


class Holder(Protocol):
    """Who holds the jobs."""

    @property
    def held(self) -> int:
        """Jobs delivered and not yet settled."""

    def view(self) -> View:
        """How it stands."""

    def give_back_waiting(self) -> None:
        """Return to the broker what no child has begun."""


class Source(Protocol):
    """Where jobs come from."""

    @property
    def prefetch(self) -> int:
        """Jobs that it gives at a time; it may begin anew with one per slot."""

    async def pause(self) -> None:
        """No more jobs, please."""

    async def resume(self, prefetch: int) -> None:
        """So many at a time."""


class Flow:
    """Looks while jobs are here, and acts. Begins with one job per slot.

    `changed` is set by others when jobs have come or gone, and cleared here. The holder has it
    from before there is a flow, as the two need each other.
    """

    def __init__(
        self, holder: Holder, source: Source, *, bounds: Bounds, changed: asyncio.Event
    ) -> None:
        self._holder = holder
        self._source = source
        self._bounds = bounds
        self._changed = changed

    async def run(self) -> None:
        """Act until cancelled."""
        loop = asyncio.get_running_loop()
        changed = loop.time() - GROW_INTERVAL
        while True:
            while not self._holder.held and self._source.prefetch >= self._bounds.slots:
                self._changed.clear()
                await self._changed.wait()
            await asyncio.sleep(LOOK_INTERVAL)
            step = plan(self._holder.view(), now=self._source.prefetch, bounds=self._bounds)
            if step is None or (
                step.prefetch > self._bounds.slots and loop.time() < changed + GROW_INTERVAL
            ):
                continue
            await self._act(step)
            changed = loop.time()

    async def _act(self, step: Plan) -> None:
        await self._source.pause()
        if step.gives_back:
            self._holder.give_back_waiting()
        prefetch, slots = step.prefetch, self._bounds.slots
        if prefetch <= slots:
            # Jobs of the old consumer do not count against the new one's prefetch.
            prefetch = max(0, slots - self._holder.view().taken)
        await self._source.resume(prefetch)


class Steady:
    """`prefetch: N`: sees to it that a worker that began with less has its N again.

    `wanted` returns the number of jobs to ask for beside those that are here from before; it is
    never more than `prefetch`. `changed` is as for `Flow`.
    """

    def __init__(
        self,
        source: Source,
        *,
        prefetch: int,
        wanted: Callable[[], int],
        changed: asyncio.Event,
    ) -> None:
        self._source = source
        self._prefetch = prefetch
        self._wanted = wanted
        self._changed = changed

    async def run(self) -> None:
        """Act until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._is_short():
                await self._source.pause()
                await self._source.resume(self._wanted())
                # Where jobs are long, some are here from before each time that one ends.
                await asyncio.sleep(GROW_INTERVAL)
                self._changed.set()
            else:
                # Short jobs change something a thousand times a second.
                await asyncio.sleep(LOOK_INTERVAL)

    def _is_short(self) -> bool:
        prefetch = self._source.prefetch
        return prefetch < self._prefetch and prefetch < self._wanted()
