"""Processes as /proc shows them, and how to end whole trees of them."""

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
    """In clock ticks since boot: with the process id, it names a process for good."""

    resident: int
    """Bytes."""

    @property
    def is_alive(self) -> bool:
        """Not a zombie."""
        return self.state not in "ZX"


def snapshot() -> dict[int, Process]:
    """All processes that /proc shows. Raises OSError where too many files are open to look."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read(int(name))):
            found[process.pid] = process
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process has, what it shares with others included; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
            return int(file.read(256).split()[1]) * _PAGE
    except OSError:
        return 0


def proportional(pid: int) -> int | None:
    """Bytes of memory that a process has, of each page that n processes share an n-th; 0 if it is
    gone, None where that cannot be read, as of another user's.

    The kernel walks through all its pages: some 50 ms for each gigabyte.
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
    """When this process began; this and `now` are ms since the epoch."""
    own = _read(os.getpid())
    if own is None:
        return now
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - own.started / _TICKS
    return now - max(0, round(1000 * age))


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """What the main thread of this process has had of the CPUs, in seconds."""

    ran: float
    waited: float
    """In which it could have run, but others had the CPUs. What its own limit held it back does not
    count, as nobody else makes it longer."""


def cpu_times() -> CpuTimes | None:
    """Since the process began; None where the kernel does not tell."""
    try:
        with open("/proc/self/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read(256).split()
    except (OSError, ValueError):
        return None
    return CpuTimes(ran=int(ran) / 1e9, waited=max(0.0, int(waited) / 1e9 - _throttled()))


def _throttled() -> float:
    """Seconds for which the container's CPU limit stopped it; the kernel calls them waiting too."""
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
"""File of the container's cgroup, version 2 and 1, the entry in it, and how many are a second."""


def tree(root: int, processes: Mapping[int, Process]) -> set[int]:
    """`root` and everything below it."""
    return _below({root}, processes)


def debris(parent: int, processes: Mapping[int, Process], *, zygote: int) -> set[int]:
    """What dead children have left behind: orphans of `parent` and all below them.

    Children are subreapers, so a job's orphans reach the parent only when their child dies.
    """
    orphans = {p.pid for p in processes.values() if p.parent == parent and p.pid != zygote}
    return {pid for pid in _below(orphans, processes) if processes[pid].is_alive}


def group(leader: int, processes: Mapping[int, Process]) -> set[int]:
    """Living members of a process group."""
    return {p.pid for p in processes.values() if p.group == leader and p.is_alive}


def family(leader: int, processes: Mapping[int, Process]) -> set[int]:
    """Living members of a process group, and all below them that are alive."""
    below = _below(group(leader, processes), processes)
    return {pid for pid in below if processes[pid].is_alive}


def signal_group(leader: int, number: signal.Signals) -> list[int]:
    """Signal a group whose leader is not yet reaped, so the id is still its own.

    The leader if all of the group is another user's and cannot be signalled.
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
    """Signal processes of a snapshot, unless an id has gone to somebody else since.

    Those of other users, which cannot be signalled. While too many files are open nobody is.
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
    """Bury every dead direct child, telling its id and status to `on_exit`; never waits."""
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
    # The command's name stands in parentheses and may hold anything, parentheses too.
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
