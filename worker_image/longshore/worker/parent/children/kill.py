"""Ends a child and everything that it started."""

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Mapping

from longshore.logs import Log
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.states import Kill

SWEEP_INTERVAL = 0.01
"""Seconds between two checks for processes that are still alive."""

SWEEP_SHARE = 0.2
"""Part of a CPU that all sweeps may take together. If there are thousands of processes, checks
become rarer."""

SWEEP_DEADLINE = 10.0
"""Seconds after which a process that survives SIGKILL (it hangs in the kernel) is left behind."""

log = Log("longshore.kill")


class Killer:
    """Sends SIGTERM to the group, waits, sends SIGKILL to the group, and sweeps what escaped it."""

    def __init__(
        self,
        children: Collection[Child],
        *,
        zygote: int,
        grace: float,
        on_kill: Callable[[Kill], None],
    ) -> None:
        self._children = children
        """All children that are not buried yet."""

        self._zygote = zygote
        self._grace = grace
        self._on_kill = on_kill
        self._loop = asyncio.get_running_loop()
        self._sweeps = 0
        """The number of sweeps under way."""

    def kill(self, child: Child, cause: Kill, *, at_once: bool = False) -> None:
        """Start to end `child`; its exit is noticed elsewhere."""
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
        """Return once nothing of a dead, unreaped child is left.

        After a kill, the rest of its tree has until the end of the grace; otherwise it is killed at
        once. What other children have left behind is ended by them. Processes that may belong to
        any child get the longest grace of all children that are dying.
        """
        due: dict[int, float] = {}
        """When each process is struck, by id. A later kill does not extend its time."""

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
        """Strike the remaining processes that are due; return whether the sweep is over."""
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
        # If /proc cannot be read now, the sweep finds what has escaped the group.
        seen = _snapshot() or {}
        refused = processes.signal_group(child.pid, number)
        escaped = processes.tree(child.pid, seen) - processes.group(child.pid, seen)
        refused += processes.signal_each(escaped, number, seen)
        if refused:
            log.error("signal-refused", pids=sorted(refused), signal=number.name)

    def _rest_of(
        self, child: Child, seen: Mapping[int, processes.Process]
    ) -> tuple[set[int], set[int]]:
        """Return what is left of a dead child, and what may be left of any dead child."""
        own = processes.family(child.pid, seen)
        anybodys = processes.debris(os.getpid(), seen, zygote=self._zygote) - own
        for other in self._children:
            if other is not child:
                anybodys -= processes.family(other.pid, seen)
        return own, anybodys


def _snapshot() -> dict[int, processes.Process] | None:
    """Return all processes; None while too many files are open for that."""
    try:
        return processes.snapshot()
    except OSError:
        return None
