"""The memory watchdog: ends a child that outgrows the limit before the kernel ends them all.

On cgroup v2 an out-of-memory kill takes the whole container.
"""

import asyncio
from collections.abc import Callable

from longshore.worker.parent import processes
from longshore.worker.parent.slot import Kill, Slot

INTERVAL = 0.2
"""Seconds between two looks; each reads /proc once."""


async def watch(slots: list[Slot], *, limit: int, kill: Callable[[Slot, Kill], None]) -> None:
    """Kill children that run a job and use more than `limit` bytes together with their tree."""
    while True:
        await asyncio.sleep(INTERVAL)
        if not any(slot.busy for slot in slots):
            continue
        seen = processes.snapshot()
        for slot in slots:
            if slot.busy and not slot.killed_for:
                used = sum(seen[pid].resident for pid in processes.tree(slot.pid, seen))
                if used > limit:
                    slot.memory_seen = used
                    kill(slot, Kill.MEMORY_LIMIT)
