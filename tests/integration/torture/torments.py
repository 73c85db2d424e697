"""Handlers that do the worst; `jobs` beside them has the milder ones."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from jobs import note

from longshore import Discard, Interrupted, Job, SoftTimeLimit, handler

MEGABYTE = 1024 * 1024


# Limits


@handler(max_attempts=1)
def hold_the_gil(diary: str) -> None:
    """One call into C that never ends, releases no lock and looks at no signal."""

    def tick() -> None:
        while True:
            note(diary, "tick")
            time.sleep(0.02)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=tick, daemon=True).start()
    time.sleep(0.2)
    note(diary, f"held {os.getpid()}")
    any(itertools.repeat(False))


@handler(max_attempts=1)
def catch_all_exceptions(diary: str) -> None:
    try:
        time.sleep(60)
    except Exception:
        note(diary, "swallowed")
    note(diary, "went on")


@handler(max_attempts=1)
def catch_the_limit_and_go_on(diary: str) -> None:
    try:
        time.sleep(60)
    except SoftTimeLimit:
        note(diary, "told")
    time.sleep(60)


@handler
def ignore_the_loss(job: Job, diary: str, seconds: float) -> None:
    """Takes its time, at first, whatever it is told."""
    end = time.monotonic() + (0 if os.access(diary, os.F_OK) else seconds)
    note(diary, f"start {job.attempt}")
    while (left := end - time.monotonic()) > 0:
        try:
            time.sleep(left)
        except Interrupted:
            continue
    note(diary, f"end {job.attempt} lost={job.delivery_lost}")


@handler
async def ignore_the_loss_async(job: Job, diary: str, seconds: float) -> None:
    end = time.monotonic() + (0 if os.access(diary, os.F_OK) else seconds)
    note(diary, f"start {job.attempt}")
    while (left := end - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    note(diary, f"end {job.attempt} lost={job.delivery_lost}")


@handler
def lock_and_hang(job: Job, diary: str, path: str) -> None:
    """Hangs in its first attempt with a lock that a grandchild in another session holds too."""
    with Path(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note(diary, f"locked {job.attempt}")
        if job.attempt == 1:
            subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)"],
                pass_fds=[file.fileno()],
                start_new_session=True,
            )
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(600)


@handler
def show_headers(job: Job, diary: str) -> None:
    note(diary, f"{job.attempt} {time.time()} {job.headers}")
    if job.attempt == 1:
        raise RuntimeError("once more, please")


# Deaths


@handler(max_attempts=2)
def kill_itself(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    os.kill(os.getpid(), signal.SIGKILL)


@handler(max_attempts=1)
def die_with(data: str) -> None:
    os._exit(7)


@handler(max_attempts=2)
def kill_the_pod(job: Job, diary: str) -> None:
    """As a container's end would: every process at once, this one last."""
    note(diary, job.attempt)
    zygote = os.getppid()
    parent = int(Path(f"/proc/{zygote}/stat").read_text().rsplit(")", 1)[1].split()[1])
    for pid in (parent, zygote, os.getpid()):
        os.kill(pid, signal.SIGKILL)


@handler(max_attempts=1)
def bomb(diary: str, most: int) -> None:
    """Forks and forks again, each process in a session of its own, until `most` are there."""
    tokens, give = os.pipe()
    os.write(give, b"." * most)
    os.set_blocking(tokens, False)
    os.close(give)
    while os.read(tokens, 1):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note(diary, os.getpid())
    while True:
        time.sleep(600)


@handler
def leave_a_reader(diary: str) -> None:
    """Ends, and leaves a process in another session that keeps its output open."""
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    note(diary, other.pid)


@handler(max_attempts=1)
def die_and_leave_a_reader(diary: str) -> None:
    leave_a_reader(diary)
    os._exit(1)


@handler
def flood(megabytes: int) -> None:
    """Writes so much: half of it in lines, half in one line without end."""
    lines = (b"x" * 1023 + b"\n") * 1024
    for piece in (lines, b"y" * MEGABYTE):
        for _ in range(megabytes // 2):
            left = memoryview(piece)
            while left:
                left = left[os.write(1, left) :]


@handler
def write_empty_lines(count: int) -> None:
    left = memoryview(b"\n" * count)
    while left:
        left = left[os.write(1, left) :]


# Connections and payloads


@handler
def wait_for_file(job: Job, diary: str, path: str, discards: bool = False) -> None:
    """Takes as long as the test wants."""
    note(diary, f"start {job.attempt}")
    while not Path(path).exists():
        time.sleep(0.01)
    note(diary, f"end {job.attempt}")
    if discards:
        raise Discard("as told")


@handler(max_attempts=5)
def fail_four_times(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    if job.attempt < 5:
        raise RuntimeError("not yet")


@handler(max_attempts=2)
def fail_with(job: Job, diary: str, data: str) -> None:
    note(diary, f"{job.attempt} {len(data)}")
    raise RuntimeError("it never works")
