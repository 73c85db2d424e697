"""The end of a child and of everything it started."""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Mapping

from longshore.logs import Log
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.states import Kill

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
        children: Collection[Child],
        *,
        zygote: int,
        grace: float,
        on_kill: Callable[[Kill], None],
    ) -> None:
        self._children = children
        """All that are not buried yet."""

        self._zygote = zygote
        self._grace = grace
        self._on_kill = on_kill
        self._loop = asyncio.get_running_loop()
        self._sweeps = 0
        """How many are under way."""

    def kill(self, child: Child, cause: Kill, *, at_once: bool = False) -> None:
        """Begin the end of `child`; its exit is seen elsewhere."""
        at_once = at_once or self._grace <= 0
        until = 0.0 if at_once else self._loop.time() + self._grace
        if child.begin_kill(cause, until=until):
            self._on_kill(cause)
        if at_once:
            self._strike(child, signal.SIGKILL)
            return
        self._strike(child, signal.SIGTERM)
        if child.timer is None:
            child.keep_timer(self._loop.call_at(until, self._strike, child, signal.SIGKILL))

    async def clean_up_after(self, child: Child) -> None:
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
                if self._sweep(child, due, began=began):
                    return
                cost = self._loop.time() - looked_at
                await asyncio.sleep(max(SWEEP_INTERVAL, cost * self._sweeps / SWEEP_SHARE))
        finally:
            self._sweeps -= 1

    def _sweep(self, child: Child, due: dict[int, float], *, began: float) -> bool:
        """Strike what is left and due; whether this is over."""
        seen = _snapshot()
        if seen is None:
            return False
        own, anybodys = self._rest_of(child, seen)
        if not own and not anybodys:
            return True
        latest = max(each.killed_until for each in (child, *self._children))
        due.update((pid, child.killed_until) for pid in own)
        due.update((pid, min(due.get(pid, latest), latest)) for pid in anybodys)
        rest = own | anybodys
        now = self._loop.time()
        if now >= max(began, *(due[pid] for pid in rest)) + SWEEP_DEADLINE:
            log.error("processes-unkillable", pids=sorted(rest))
            return True
        if now >= child.killed_until:
            processes.signal_group(child.pid, signal.SIGKILL)
        processes.signal_each({pid for pid in rest if now >= due[pid]}, signal.SIGKILL, seen)
        return False

    def _strike(self, child: Child, number: signal.Signals) -> None:
        # What has escaped the group is found by the sweep, where there is no looking now.
        seen = _snapshot() or {}
        refused = processes.signal_group(child.pid, number)
        escaped = processes.tree(child.pid, seen) - processes.group(child.pid, seen)
        refused += processes.signal_each(escaped, number, seen)
        if refused:
            log.error("signal-refused", pids=sorted(refused), signal=number.name)

    def _rest_of(
        self, child: Child, seen: Mapping[int, processes.Process]
    ) -> tuple[set[int], set[int]]:
        """What is left of a dead child, and what may be of any dead child."""
        own = processes.family(child.pid, seen)
        anybodys = processes.debris(os.getpid(), seen, zygote=self._zygote) - own
        for other in self._children:
            if other is not child:
                anybodys -= processes.family(other.pid, seen)
        return own, anybodys


def _snapshot() -> dict[int, processes.Process] | None:
    """All processes; None while too many files are open to look."""
    try:
        return processes.snapshot()
    except OSError:
        return None
