"""The clocks that run against jobs: one timer for all of them, set to what is due first.

A timer per job would cost a short job more than anything else that the event loop does for it.
"""

import asyncio
import math
from collections.abc import Callable, Iterable

from longshore.worker.parent.children.child import Slot
from longshore.worker.parent.children.pace import HOLD

Due = Callable[[Slot], None]


class Clocks:
    """Watches the first job of every slot. The callbacks come late, never early.

    `look` reads what the child has reported, so that a job that has ended in time is not taken for
    one that runs. `on_held` comes when jobs wait in a slot behind one that takes its time.
    """

    def __init__(
        self,
        slots: Iterable[Slot],
        *,
        look: Due,
        on_soft: Due,
        on_hard: Due,
        on_held: Due,
    ) -> None:
        self._slots = slots
        self._look = look
        self._on_soft = on_soft
        self._on_hard = on_hard
        self._on_held = on_held
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def note(self, slot: Slot) -> None:
        """The slot's first job has begun, or another waits behind it now."""
        due = slot.due(HOLD)
        if due < self._due:
            self._set(due)

    def _set(self, due: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._due = due
        self._timer = None if due == math.inf else self._loop.call_at(due, self._strike)

    def _strike(self) -> None:
        # Nothing is to be set while slots change under our hands: it is done at the end.
        self._timer, self._due = None, -math.inf
        now = self._loop.time()
        for slot in tuple(self._slots):
            if slot.due(HOLD) <= now:
                self._look(slot)
                self._strike_one(slot, now)
        self._due = math.inf
        # What is overdue still waits for something else: a result on its way, a kill's grace.
        soonest = min((slot.due(HOLD) for slot in self._slots), default=math.inf)
        self._set(max(soonest, now + HOLD) if soonest <= now else soonest)

    def _strike_one(self, slot: Slot, now: float) -> None:
        work = slot.running
        if work is None or slot.due(HOLD) > now:
            return
        if now >= slot.since + work.hard_limit:
            self._on_hard(slot)
        elif not slot.is_softened and now >= slot.since + work.soft_limit:
            slot.is_softened = True
            self._on_soft(slot)
        if len(slot.busy) > 1 and now >= slot.since + HOLD:
            self._on_held(slot)
