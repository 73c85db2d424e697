"""Processes that outlive us, and the proof that a pid still means the one we started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.cache import read_record, write_record
from dev.errors import DevError, PrerequisiteMissing

PROC = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """A pid is reused; a pid with its start time and boot is not."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        return self == identify(self.pid)


def identify(pid: int, *, proc: Path = PROC) -> Identity | None:
    """Who `pid` is now; None if there is no such process, or only its zombie."""
    try:
        # The name in the second field may hold spaces and brackets, what follows it may not.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else Identity(pid=pid, started=started, boot=boot)


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    state: Path,
    environment: Mapping[str, str] | None = None,
) -> Identity:
    """Start a process in its own session with a log file; remember it in STATE/NAME.pid."""
    state.mkdir(parents=True, exist_ok=True)
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    # Not subprocess: it expects that whoever starts a process also waits for it.
    try:
        pid = os.posix_spawnp(
            str(command[0]),
            [str(word) for word in command],
            {**os.environ, **(environment or {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(state / f"{name}.log"), writing, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except FileNotFoundError:
        raise PrerequisiteMissing(f"{command[0]} is not installed") from None
    identity = identify(pid)
    if identity is None:
        raise DevError(f"{name} ended at once: see {state / f'{name}.log'}")
    write_record(state / f"{name}.pid", asdict(identity))
    return identity


def remembered(name: str, *, state: Path) -> Identity | None:
    """The process that `start` noted under this name, if it is still the same and alive."""
    record = read_record(state / f"{name}.pid")
    if not record:
        return None
    identity = Identity(**record)
    return identity if identity.alive() else None


def stop(name: str, *, state: Path, kill: signal.Signals = signal.SIGKILL) -> None:
    """End a remembered process, for certain; a pid that is someone else's by now is left alone."""
    identity = remembered(name, state=state)
    if identity:
        end([identity], first=kill)
    (state / f"{name}.pid").unlink(missing_ok=True)


def rooted_in(folder: Path, *, name: str) -> Iterator[Identity]:
    """The processes whose root directory is FOLDER/NAME, a pattern."""
    for process in PROC.glob("[0-9]*"):
        identity = identify(int(process.name))
        try:
            root = Path(os.readlink(process / "root"))
        except OSError:
            continue
        if identity and root.parent == folder and root.match(name):
            yield identity


def end(
    identities: Sequence[Identity],
    *,
    first: signal.Signals = signal.SIGKILL,
    patience: float = 5.0,
) -> None:
    """Signal all, wait, SIGKILL those that remain."""
    for word in (first, signal.SIGKILL):
        for identity in identities:
            _send(identity, word)
        deadline = time.monotonic() + patience
        while any(identity.alive() for identity in identities) and time.monotonic() < deadline:
            time.sleep(0.02)
    survivors = [identity.pid for identity in identities if identity.alive()]
    if survivors:
        raise DevError(f"processes {survivors} do not end, not even by SIGKILL")


def _send(identity: Identity, word: signal.Signals) -> None:
    # The pid file descriptor pins the process: between check and signal the pid can't be reused.
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if identity.alive():
            signal.pidfd_send_signal(handle, word)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
