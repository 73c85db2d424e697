"""The memory watchdog: kills a child that exceeds its limit before the kernel kills all of them.

On cgroup v2, an out-of-memory kill ends the whole container.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.states import Kill

INTERVAL = 0.2
"""Seconds between two looks, each of which reads /proc once."""

SHARE = 0.2
"""Part of a CPU that looking may take. If looks cost more, they become rarer."""

LONGEST = 2.0
"""Maximum seconds between two looks, whatever they cost."""


async def watch(children: list[Child], *, limit: int, kill: Callable[[Child, Kill], None]) -> None:
    """Kill children that run a job and, together with their trees, use more than `limit` bytes.

    Pages that these processes share count once. Finding that out is expensive. So it is done only
    if their resident memory, which counts such pages once per process, exceeds the limit.
    """
    while True:
        cost = 0.0
        if any(child.jobs for child in children):
            began = time.monotonic()
            seen = _snapshot()
            cost = time.monotonic() - began
            for child in list(children):
                if child.jobs and not child.is_ending:
                    cost += await _look(child, seen, limit=limit, kill=kill)
        await asyncio.sleep(max(INTERVAL, min(LONGEST, cost / SHARE)))


def _snapshot() -> Mapping[int, processes.Process]:
    try:
        return processes.snapshot()
    except OSError:  # too many open files; the next look may succeed
        return {}


async def _look(
    child: Child,
    seen: Mapping[int, processes.Process],
    *,
    limit: int,
    kill: Callable[[Child, Kill], None],
) -> float:
    """Kill `child` if it is over the limit; return the seconds that the expensive look took."""
    tree = processes.tree(child.pid, seen)
    if sum(seen[pid].resident for pid in tree) <= limit:
        return 0.0
    run, began = child.run, time.monotonic()
    try:
        # In a thread, because the kernel may take long.
        used = await asyncio.to_thread(_used, tree, seen)
    except RuntimeError:  # no thread can be started; jobs may have created too many processes
        used = _used(tree, seen)
    if used > limit and child.run is run and not child.is_ending:
        child.note_memory(used)
        kill(child, Kill.MEMORY_LIMIT)
    return time.monotonic() - began


def _used(tree: Iterable[int], seen: Mapping[int, processes.Process]) -> int:
    used = 0
    for pid in tree:
        own = processes.proportional(pid)
        used += seen[pid].resident if own is None else own
    return used
