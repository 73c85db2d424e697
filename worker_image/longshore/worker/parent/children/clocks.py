"""The clocks of all runs: one timer for all jobs, set to the earliest due time.

A timer per job would cost a short job more than everything else that the event loop does for it.
"""

import asyncio
import math
from collections.abc import Callable, Iterable

from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.pace import HOLD
from longshore.worker.parent.jobs.run import Run


class Clocks:
    """Watches the run of every child. The callbacks come late, but never early.

    `look` reads what the child has reported, so that a job that has ended in time is not taken for
    a running one. `on_held` is called when jobs wait in a child behind one that takes long.
    """

    def __init__(
        self,
        children: Iterable[Child],
        *,
        look: Callable[[Child], None],
        on_soft: Callable[[Child, Run], None],
        on_hard: Callable[[Child, Run], None],
        on_held: Callable[[Child], None],
    ) -> None:
        self._children = children
        self._look = look
        self._on_soft = on_soft
        self._on_hard = on_hard
        self._on_held = on_held
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def note(self, child: Child) -> None:
        """Note that the child's run has begun, or that another job now waits behind it."""
        due = child.due(HOLD)
        if due < self._due:
            self._set(due)

    def _set(self, due: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._due = due
        self._timer = None if due == math.inf else self._loop.call_at(due, self._strike)

    def _strike(self) -> None:
        # The callbacks change children, so the timer is set only after all of them.
        self._timer, self._due = None, -math.inf
        now = self._loop.time()
        for child in tuple(self._children):
            if child.due(HOLD) <= now:
                self._look(child)
                if child.run and child.due(HOLD) <= now:
                    self._strike_one(child, child.run, now)
        self._due = math.inf
        # Runs that are overdue wait for something else: an arriving result, or a kill's grace.
        soonest = min((child.due(HOLD) for child in self._children), default=math.inf)
        self._set(max(soonest, now + HOLD) if soonest <= now else soonest)

    def _strike_one(self, child: Child, run: Run, now: float) -> None:
        if now >= run.deadline:
            self._on_hard(child, run)
        elif not run.is_softened and now >= run.due:
            run.soften()
            self._on_soft(child, run)
        if len(child.jobs) > 1 and now >= run.since + HOLD:
            self._on_held(child)
