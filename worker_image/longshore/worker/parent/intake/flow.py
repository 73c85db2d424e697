"""Adjusts the prefetch: as many jobs in the worker as will start soon, and no more.

A short job ends sooner than the broker sends the next one, so it needs others that wait here. A
long one must have none behind it, because they could start elsewhere. With a number instead of
`auto`, the prefetch is that number, minus a share for slots whose jobs the broker has taken back
and that run on until they end.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

MAX_WAIT = 0.1
"""Seconds that a job may wait in the worker."""

MAX_PREFETCH = 128
"""Maximum prefetch. Twice as many gain nothing measurable."""

STUCK = 0.05
"""Seconds of run time after which a job counts as a long one that delays others."""

LOOK_INTERVAL = 0.025
"""Seconds between two looks while jobs are here."""

GROW_INTERVAL = 1.0
"""Seconds between two increases, each of which costs the time in which no delivery is in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many jobs a worker may hold: one per slot, and up to `most` while they are short."""

    slots: int
    most: int


def prefetch_for(mean: float | None, *, bounds: Bounds) -> int:
    """Return how many jobs to hold if one takes `mean` seconds; one per slot if that is unknown."""
    slots = bounds.slots
    if mean is None:
        return slots
    ahead = MAX_PREFETCH if mean * MAX_PREFETCH < MAX_WAIT else int(MAX_WAIT / mean)
    return max(slots, min(MAX_PREFETCH, bounds.most, slots * (1 + ahead)))


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state of the jobs in a worker at one moment."""

    mean: float | None
    """Mean run time of recent jobs in seconds."""

    is_stuck: bool
    """Whether jobs wait while every slot has a job that runs longer than recent jobs did."""

    taken: int
    """Slots whose jobs belong to an earlier consumer."""

    before: int = 0
    """Jobs here that belong to an earlier consumer, running or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A change: hold up to `prefetch` jobs, after giving back waiting ones if `gives_back`."""

    prefetch: int
    gives_back: bool


def plan(view: View, *, now: int, bounds: Bounds) -> Plan | None:
    """Return what to change if the prefetch is `now`; None for nothing."""
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
    """Return how many jobs to request of `prefetch` in all, by the share of free slots."""
    free = max(0, slots - view.taken)
    return max(0, min(math.ceil(prefetch * free / slots), prefetch - view.before))


def first(prefetch: int, view: View, *, slots: int) -> int:
    """Return how many jobs to request on a new connection after `prefetch` on the last one."""
    return max(0, slots - view.taken) if view.taken else prefetch


class Holder(Protocol):
    """Holds the jobs that were delivered."""

    @property
    def held(self) -> int:
        """Jobs that are delivered and not yet settled."""

    def view(self) -> View:
        """Return the present state of these jobs."""

    def give_back_waiting(self) -> None:
        """Return to the broker the jobs that no child has begun."""


class Source(Protocol):
    """Delivers jobs."""

    @property
    def prefetch(self) -> int:
        """Jobs that it delivers at a time; a new connection may start with one per slot."""

    async def pause(self) -> None:
        """Stop delivering jobs."""

    async def resume(self, prefetch: int) -> None:
        """Deliver jobs again, at most `prefetch` at a time."""


class Flow:
    """Adjusts the prefetch while jobs are here. Starts with one job per slot.

    `changed` is set by the holder when jobs have arrived or left, and cleared here. The two need
    each other, so it is created before both.
    """

    def __init__(
        self, holder: Holder, source: Source, *, bounds: Bounds, changed: asyncio.Event
    ) -> None:
        self._holder = holder
        self._source = source
        self._bounds = bounds
        self._changed = changed

    async def run(self) -> None:
        """Adjust until cancelled."""
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
    """For `prefetch: N`: restores a worker that started with fewer jobs to its N.

    `wanted` returns the number of jobs to request beside those that are here from before; it is
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
        """Restore the prefetch until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._is_short():
                await self._source.pause()
                await self._source.resume(self._wanted())
                # If jobs are long, some are left from before each time that one ends.
                await asyncio.sleep(GROW_INTERVAL)
                self._changed.set()
            else:
                # Short jobs cause a thousand changes a second.
                await asyncio.sleep(LOOK_INTERVAL)

    def _is_short(self) -> bool:
        prefetch = self._source.prefetch
        return prefetch < self._prefetch and prefetch < self._wanted()
