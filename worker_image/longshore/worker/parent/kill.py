"""The end of a child and of everything it started."""

import asyncio
import os
import signal
from collections.abc import Callable

from longshore.worker.parent import processes
from longshore.worker.parent.logs import Log
from longshore.worker.parent.slot import Kill, Slot

SWEEP_INTERVAL = 0.01
"""Seconds between two looks at what is still alive."""

SWEEP_DEADLINE = 10.0
"""Seconds after which a process that survives SIGKILL (it hangs in the kernel) is left behind."""

log = Log("longshore.kill")


class Killer:
    """SIGTERM to the group, grace, SIGKILL to the group, sweep of what has escaped it."""

    def __init__(self, *, zygote: int, grace: float, on_kill: Callable[[Kill], None]) -> None:
        self._zygote = zygote
        self._grace = grace
        self._on_kill = on_kill
        self._loop = asyncio.get_running_loop()

    def kill(self, slot: Slot, cause: Kill, *, at_once: bool = False) -> None:
        """Begin the end of `slot`; its exit is seen elsewhere."""
        if slot.killed_for is None:
            slot.killed_for = cause
            self._on_kill(cause)
        slot.closing = True
        if at_once or self._grace <= 0:
            slot.killed_until = 0.0
            self._strike(slot, signal.SIGKILL)
            return
        slot.killed_until = self._loop.time() + self._grace
        self._strike(slot, signal.SIGTERM)
        if slot.kill_timer is None:
            slot.kill_timer = self._loop.call_at(
                slot.killed_until, self._strike, slot, signal.SIGKILL
            )

    async def clean_up_after(self, slot: Slot) -> None:
        """Return when nothing of a dead, unreaped child is left.

        After a kill the rest of its tree has until the end of the grace; else it goes at once.
        """
        deadline = max(self._loop.time(), slot.killed_until) + SWEEP_DEADLINE
        while rest := self._rest_of(slot):
            now = self._loop.time()
            if now >= deadline:
                log.error("unkillable", pids=sorted(rest))
                return
            if now >= slot.killed_until:
                processes.signal_group(slot.pid, signal.SIGKILL)
                processes.signal_each(rest, signal.SIGKILL, processes.snapshot())
            await asyncio.sleep(SWEEP_INTERVAL)

    def _strike(self, slot: Slot, number: signal.Signals) -> None:
        seen = processes.snapshot()
        refused = processes.signal_group(slot.pid, number)
        escaped = processes.tree(slot.pid, seen) - processes.group(slot.pid, seen)
        refused += processes.signal_each(escaped, number, seen)
        if refused:
            log.error("signal-refused", pids=sorted(refused), signal=number.name)

    def _rest_of(self, slot: Slot) -> set[int]:
        seen = processes.snapshot()
        left = processes.debris(os.getpid(), seen, zygote=self._zygote)
        return left | processes.group(slot.pid, seen)
