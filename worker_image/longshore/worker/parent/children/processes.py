"""Processes as /proc shows them, and ways to end whole trees of them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    group: int
    state: str
    started: int
    """In clock ticks since boot. Together with the process id, it identifies a process forever."""

    resident: int
    """Resident memory in bytes."""

    @property
    def is_alive(self) -> bool:
        """Whether the process is not a zombie."""
        return self.state not in "ZX"


def snapshot() -> dict[int, Process]:
    """Return all processes that /proc shows. Raises OSError if too many files are open for that."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read(int(name))):
            found[process.pid] = process
    return found


def resident(pid: int) -> int:
    """Return a process's memory in bytes, including shared pages; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read(256).split()[1]) * _PAGE
    except OSError:
        return 0


def proportional(pid: int) -> int | None:
    """Return a process's memory in bytes; a page shared by n processes counts one n-th. 0 if the
    process is gone, None if this cannot be read, as for another user's process.

    The kernel walks through all its pages, which takes some 50 ms per gigabyte.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb", buffering=0) as file:
            words = file.read(4096).split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        return None
    return int(words[words.index(b"Pss:") + 1]) * 1024 if b"Pss:" in words else None


def began(*, now: int) -> int:
    """Return when this process began; the result and `now` are ms since the epoch."""
    own = _read(os.getpid())
    if own is None:
        return now
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - own.started / _TICKS
    return now - max(0, round(1000 * age))


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """The CPU time of this process's main thread, in seconds."""

    ran: float
    waited: float
    """The time in which it could have run, but others had the CPUs. Throttling by its own limit
    does not count, because no other process can lengthen that."""


def cpu_times() -> CpuTimes | None:
    """Return the CPU times since the process began; None if the kernel does not provide them."""
    try:
        with open("/proc/self/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read(256).split()
    except (OSError, ValueError):
        return None
    return CpuTimes(ran=int(ran) / 1e9, waited=max(0.0, int(waited) / 1e9 - _throttled()))


def _throttled() -> float:
    """Return the seconds of throttling by the container's CPU limit, which the kernel counts as
    waiting."""
    for path, name, unit in _THROTTLED:
        try:
            with open(path, "rb", buffering=0) as file:
                words = file.read(4096).split()
        except OSError:
            continue
        if name in words:
            return int(words[words.index(name) + 1]) / unit
    return 0.0


_THROTTLED = (
    ("/sys/fs/cgroup/cpu.stat", b"throttled_usec", 1e6),
    ("/sys/fs/cgroup/cpu/cpu.stat", b"throttled_time", 1e9),
)
"""The file of the container's cgroup, version 2 and 1, the entry in it, and its units a second."""


def tree(root: int, processes: Mapping[int, Process]) -> set[int]:
    """Return `root` and all its descendants."""
    return _below({root}, processes)


def debris(parent: int, processes: Mapping[int, Process], *, zygote: int) -> set[int]:
    """Return what dead children have left behind: orphans of `parent` and their descendants.

    Children are subreapers, so a job's orphans reach the parent only when their child dies.
    """
    orphans = {p.pid for p in processes.values() if p.parent == parent and p.pid != zygote}
    return {pid for pid in _below(orphans, processes) if processes[pid].is_alive}


def group(leader: int, processes: Mapping[int, Process]) -> set[int]:
    """Return the living members of a process group."""
    return {p.pid for p in processes.values() if p.group == leader and p.is_alive}


def family(leader: int, processes: Mapping[int, Process]) -> set[int]:
    """Return the living members of a process group, and their living descendants."""
    below = _below(group(leader, processes), processes)
    return {pid for pid in below if processes[pid].is_alive}


def signal_group(leader: int, number: signal.Signals) -> list[int]:
    """Signal a group whose leader is not yet reaped, so that the id is still its own.

    Returns the leader if all of the group belongs to another user and cannot be signalled.
    """
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, number)
    except PermissionError:
        return [leader]
    return []


def signal_each(
    pids: Iterable[int], number: signal.Signals, processes: Mapping[int, Process]
) -> list[int]:
    """Signal processes of a snapshot, unless their ids have been reused since.

    Returns those of other users, which cannot be signalled. Signals none if too many files are
    open.
    """
    refused = []
    for pid in pids:
        with contextlib.suppress(OSError), _pidfd(pid) as descriptor:
            now = _read(pid)
            try:
                if now and now.started == processes[pid].started:
                    signal.pidfd_send_signal(descriptor, number)
            except PermissionError:
                refused.append(pid)
    return refused


def reap(on_exit: Callable[[int, int], None]) -> None:
    """Reap every dead direct child, and pass its id and status to `on_exit`; never waits."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            on_exit(pid, status)


def _below(roots: set[int], processes: Mapping[int, Process]) -> set[int]:
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    left = [pid for pid in roots if pid in processes]
    while left:
        pid = left.pop()
        if pid not in found:
            found.add(pid)
            left.extend(children.get(pid, ()))
    return found


def _read(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096)
    except OSError:
        return None
    # The command's name is in parentheses and may contain anything, even parentheses.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        state=fields[0].decode(),
        started=int(fields[19]),
        resident=int(fields[21]) * _PAGE,
    )


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
