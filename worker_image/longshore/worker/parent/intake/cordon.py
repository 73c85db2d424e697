"""Obeys the operator's cordons: the worker takes no more jobs, so that it can be removed."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from longshore.contract.orders import CordonOrder, UncordonOrder
from longshore.logs import Log

log = Log("longshore.cordon")


class Cordonable(Protocol):
    """Delivers jobs, as a cordon needs it."""

    @property
    def prefetch(self) -> int:
        """Jobs that it requests at a time."""

    async def cordon(self) -> None:
        """Stop requesting jobs; return once none can arrive any more."""

    async def uncordon(self, prefetch: int) -> None:
        """Request jobs again, at most `prefetch` at a time."""

    async def resume(self, prefetch: int) -> None:
        """Request at most `prefetch` jobs at a time from now on."""


class CordonGate:
    """Open at first. A cordon that is not renewed ends with its lease.

    It is created before the source that it cordons, which `run` takes as an argument: the holder of
    jobs calls it, and it asks the holder only while it runs. `on_change` is called when `in_force`
    has changed.
    """

    def __init__(self, *, on_change: Callable[[], None]) -> None:
        self.in_force: str | None = None
        """The id of the cordon in force, once no more jobs can arrive; None if there is none."""

        self._on_change = on_change
        self._wanted: str | None = None
        self._is_shut = False
        self._owed: tuple[int, int] | None = None
        """Prefetch for now and later, if jobs from before the cordon leave no room for all."""

        self._lease: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    def take(self, order: CordonOrder | UncordonOrder) -> None:
        """Obey an order; `in_force` shows when a cordon is complete."""
        if self._lease:
            self._lease.cancel()
            self._lease = None
        if isinstance(order, CordonOrder):
            loop = asyncio.get_running_loop()
            self._lease = loop.call_later(order.lease, self._open, "lease-expired")
            if self._wanted != order.id:
                log.info("worker-cordoned", cordon=order.id)
                self._wanted = order.id
                self._news.set()
        else:
            self._open("ordered")

    def note(self) -> None:
        """Note that jobs have arrived or left."""
        if self._owed and self._wanted is None:
            self._news.set()

    async def run(self, source: Cordonable, *, held: Callable[[], int]) -> None:
        """Carry out the latest order at `source`, until cancelled.

        `held` returns the number of jobs that are here.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            wanted = self._wanted
            if wanted is None:
                await self._let_in(source, held)
                continue
            if not self._is_shut:
                await source.cordon()
                self._is_shut = True
            if self._wanted == wanted:
                self.in_force = wanted
                self._on_change()

    def _open(self, why: str) -> None:
        if self._wanted is None:
            return
        log.info("worker-uncordoned", cordon=self._wanted, reason=why)
        # At once, because this worker may take jobs from now on.
        self._wanted = self.in_force = None
        self._news.set()
        self._on_change()

    async def _let_in(self, source: Cordonable, held: Callable[[], int]) -> None:
        if self._is_shut:
            self._is_shut = False
            # Jobs that arrived just before the cordon do not count against a new consumer's
            # prefetch; with a full prefetch, others would wait unacked behind them.
            full = self._owed[1] if self._owed else source.prefetch
            room = max(0, full - held())
            self._owed = (room, full) if room < full else None
            await source.uncordon(room)
        if self._owed and not held():
            (room, full), self._owed = self._owed, None
            if source.prefetch == room:  # otherwise `Flow` has set another prefetch since
                await source.resume(full)
