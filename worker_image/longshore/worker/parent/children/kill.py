"""The end of a child and of everything it started."""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Mapping

from longshore.logs import Log
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Kill, Slot

SWEEP_INTERVAL = 0.01
"""Seconds between two looks at what is still alive."""

SWEEP_SHARE = 0.2
"""Part of a CPU that all sweeps may take together: where there are thousands of processes, they are
looked at less often."""

SWEEP_DEADLINE = 10.0
"""Seconds after which a process that survives SIGKILL (it hangs in the kernel) is left behind."""

log = Log("longshore.kill")


class Killer:
    """SIGTERM to the group, grace, SIGKILL to the group, sweep of what has escaped it."""

    def __init__(
        self,
        slots: Collection[Slot],
        *,
        zygote: int,
        grace: float,
        on_kill: Callable[[Kill], None],
    ) -> None:
        self._slots = slots
        """All whose child is not buried yet."""

        self._zygote = zygote
        self._grace = grace
        self._on_kill = on_kill
        self._loop = asyncio.get_running_loop()
        self._sweeps = 0
        """How many are under way."""

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

        After a kill the rest of its tree has until the end of the grace; else it goes at once. What
        other children have left behind is theirs to end; what may be anybody's has the longest
        grace of all that are dying.
        """
        due: dict[int, float] = {}
        """By process: when it is struck. A kill that comes later grants it nothing."""

        began = self._loop.time()
        self._sweeps += 1
        try:
            while True:
                looked_at = self._loop.time()
                if self._sweep(slot, due, began=began):
                    return
                cost = self._loop.time() - looked_at
                await asyncio.sleep(max(SWEEP_INTERVAL, cost * self._sweeps / SWEEP_SHARE))
        finally:
            self._sweeps -= 1

    def _sweep(self, slot: Slot, due: dict[int, float], *, began: float) -> bool:
        """Strike what is left and due; whether this is over."""
        seen = _snapshot()
        if seen is None:
            return False
        own, anybodys = self._rest_of(slot, seen)
        if not own and not anybodys:
            return True
        latest = max(each.killed_until for each in (slot, *self._slots))
        due.update((pid, slot.killed_until) for pid in own)
        due.update((pid, min(due.get(pid, latest), latest)) for pid in anybodys)
        rest = own | anybodys
        now = self._loop.time()
        if now >= max(began, *(due[pid] for pid in rest)) + SWEEP_DEADLINE:
            log.error("processes-unkillable", pids=sorted(rest))
            return True
        if now >= slot.killed_until:
            processes.signal_group(slot.pid, signal.SIGKILL)
        processes.signal_each({pid for pid in rest if now >= due[pid]}, signal.SIGKILL, seen)
        return False

    def _strike(self, slot: Slot, number: signal.Signals) -> None:
        # What has escaped the group is found by the sweep, where there is no looking now.
        seen = _snapshot() or {}
        refused = processes.signal_group(slot.pid, number)
        escaped = processes.tree(slot.pid, seen) - processes.group(slot.pid, seen)
        refused += processes.signal_each(escaped, number, seen)
        if refused:
            log.error("signal-refused", pids=sorted(refused), signal=number.name)

    def _rest_of(
        self, slot: Slot, seen: Mapping[int, processes.Process]
    ) -> tuple[set[int], set[int]]:
        """What is left of a dead child, and what may be of any dead child."""
        own = processes.family(slot.pid, seen)
        anybodys = processes.debris(os.getpid(), seen, zygote=self._zygote) - own
        for other in self._slots:
            if other is not slot:
                anybodys -= processes.family(other.pid, seen)
        return own, anybodys


def _snapshot() -> dict[int, processes.Process] | None:
    """All processes; None while too many files are open to look."""
    try:
        return processes.snapshot()
    except OSError:
        return None
