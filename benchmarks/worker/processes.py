"""A contender's processes: started in a session of their own, weighed, and ended for certain."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.worker.errors import BenchmarkError, RoundSpoiled

PROC = Path("/proc")
STOP_DEADLINE = 10.0
"""Seconds between SIGTERM and SIGKILL. Taskiq 0.13 sometimes needs the second, with no job left."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE = 0.005
_LAST_WORDS = 500
_LISTEN = "0A"
"""TCP state in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Session:
    """All processes that descend from one command; a child's own process group changes nothing."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The command's own process."""
        return self.process.pid

    def pids(self) -> list[int]:
        """Every live process of the session."""
        return [pid for pid in _all_pids() if _session_of(pid) == self.pid]

    def check_alive(self) -> None:
        """Raises RoundSpoiled when the command has ended."""
        status = self.process.poll()
        if status is not None:
            raise RoundSpoiled(f"ended with status {status}: {self.last_words()}")

    def last_words(self) -> str:
        """The last line of its log: of a traceback, the error."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:_LAST_WORDS] if lines else "no output"

    def stop(self) -> None:
        """SIGTERM to the command, as a pod would get it; SIGKILL to whatever is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            # What is left afterwards, command or child, gets the same end.
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_DEADLINE)
        self._kill()

    def _kill(self) -> None:
        deadline = time.monotonic() + STOP_DEADLINE
        while pids := self.pids():
            if time.monotonic() > deadline:
                raise BenchmarkError(f"processes {pids} do not end, not even by SIGKILL")
            for pid in pids:
                # Between listing and signal it may have ended by itself.
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.poll()
            time.sleep(_PATIENCE)


@contextmanager
def session(
    command: Sequence[str | Path], *, environment: Mapping[str, str], folder: Path, log: Path
) -> Iterator[Session]:
    """Run `command` in `folder`; whatever happens, none of its processes outlives the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Session(process, log)
    try:
        yield started
    finally:
        started.stop()


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time that these processes and their reaped children have used, to 10 ms."""
    return sum(_ticks(pid) for pid in pids) / _TICKS


def machine_cpu_seconds() -> float:
    """Processor time that everything on this machine together has used."""
    fields = (PROC / "stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of one process that is resident now, shared pages included."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def first_with_environment(text: str) -> float:
    """When the oldest process was made that has `text` in its environment, in seconds since boot.

    Raises BenchmarkError when there is none.
    """
    found = [started for pid in _all_pids() if (started := _started_with(pid, text.encode()))]
    if not found:
        raise BenchmarkError(f"no process has {text!r} in its environment")
    return min(found)


def listener(port: int, *, command: str) -> int | None:
    """The process named `command` that listens on TCP `port` of this machine's loopback."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for pid in _all_pids():
        process = PROC / str(pid)
        try:
            if (process / "comm").read_text().strip() != command:
                continue
            held = {os.readlink(descriptor) for descriptor in (process / "fd").iterdir()}
        except (FileNotFoundError, ProcessLookupError):
            continue
        if held & sockets:
            return pid
    return None


def _listening(port: int) -> Iterator[str]:
    for family in ("tcp", "tcp6"):
        for line in (PROC / "net" / family).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _ticks(pid: int) -> int:
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # utime, stime, cutime, cstime.
    return sum(int(field) for field in fields[11:15])


def _started_with(pid: int, text: bytes) -> float | None:
    try:
        if text not in (PROC / str(pid) / "environ").read_bytes():
            return None
        return int(_stat(pid)[19]) / _TICKS
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _session_of(pid: int) -> int | None:
    try:
        fields = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[3])


def _stat(pid: int) -> list[str]:
    # The name in the second field may hold spaces and brackets, what follows it may not.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]
