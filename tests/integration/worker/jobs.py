"""Handlers of the worker's tests: good ones, and each kind of bad one.

They tell what they did by appending lines to the file `diary`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longshore import Discard, Interrupted, Job, Retry, Snooze, SoftTimeLimit, handler


def note(diary: str, line: object) -> None:
    descriptor = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


@handler
def write(job: Job, diary: str, text: str = "done", seconds: float = 0) -> None:
    time.sleep(seconds)
    note(diary, f"{text} {job.attempt}")


@handler
def measure(diary: str, data: str) -> None:
    note(diary, len(data))


@handler
def add(diary: str, first: int, second: int) -> None:
    note(diary, first + second)


@handler
def speak() -> None:
    print("from Python")
    subprocess.run(["sh", "-c", "echo from a shell >&2"], check=True)
    os.write(1, b"from a descriptor\n")


@handler
def fill_the_output() -> None:
    os.set_blocking(1, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(1, b"x" * 4095 + b"\n")


@handler
def say_much() -> None:
    for _ in range(1000):
        print("y" * 1000)


@handler
def nothing() -> None:
    pass


@handler
def say(text: str) -> None:
    print(text)


@handler(name="fail.twice", max_attempts=3)
def fail_twice(job: Job, diary: str) -> None:
    note(diary, f"{job.attempt} {time.time()}")
    if job.attempt < 3:
        raise RuntimeError(f"attempt {job.attempt} fails")


@handler(max_attempts=2)
def fail(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    raise RuntimeError("it never works")


@handler(max_attempts=2)
def retry_soon(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    raise Retry("not yet", after="1s")


class Busy(Retry):
    after: Any = "30"

    def __init__(self) -> None:
        Exception.__init__(self, "busy")


@handler(max_attempts=2)
def retry_oddly() -> None:
    raise Busy


@handler
def snooze_once(job: Job, diary: str) -> None:
    first = not Path(diary).exists()
    note(diary, job.attempt)
    if first:
        raise Snooze("1s")


@handler
def discard() -> None:
    raise Discard("it makes no sense")


@handler
def sleep(job: Job, diary: str, seconds: float) -> None:
    note(diary, f"start {job.attempt}")
    time.sleep(seconds)
    note(diary, f"end {job.attempt}")


@handler
async def sleep_async(job: Job, diary: str, seconds: float) -> None:
    note(diary, f"start {job.attempt}")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(diary, "cancelled")
        raise
    note(diary, "end")


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as people write it: it knows nothing of `async`."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@handler
@timed
async def sleep_async_in_disguise(job: Job, diary: str) -> None:
    await asyncio.sleep(0.01)
    note(diary, f"woke {job.attempt}")


@handler
def tidy_at_soft_limit(diary: str) -> None:
    try:
        time.sleep(60)
    except SoftTimeLimit:
        note(diary, "tidied")


@handler
def interruptible(job: Job, diary: str) -> None:
    note(diary, f"start {job.attempt}")
    try:
        time.sleep(60 if job.attempt == 1 else 0)
    except Interrupted as why:
        note(diary, f"{type(why).__name__} lost={job.delivery_lost}")
        raise
    note(diary, f"end {job.attempt}")


@handler
def lose_first_time(job: Job, diary: str) -> None:
    first = not Path(diary).exists()
    note(diary, f"start {job.attempt}")
    try:
        time.sleep(60 if first else 0)
    except Interrupted as why:
        note(diary, f"{type(why).__name__} lost={job.delivery_lost}")
        raise
    note(diary, f"end {job.attempt}")


@handler(max_attempts=50)
def endure(job: Job, diary: str, number: int) -> None:
    note(diary, f"{number} start {job.attempt} {os.getpid()}")
    time.sleep(0.02)
    note(diary, f"{number} end {job.attempt} {os.getpid()}")


@handler
def leave_an_orphan(diary: str) -> None:
    subprocess.run(["sh", "-c", f"(echo left >> {diary}; sleep 0.3) &"], check=True)


@handler
def steps(job: Job, diary: str) -> None:
    for step in range(200_000):
        job.progress({"step": step})
    note(diary, "walked")


@handler(max_attempts=1)
def hang(diary: str) -> None:
    """Ignores everything polite, with a grandchild and one that has fled the process group."""
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    for fled in (False, True):
        other = subprocess.Popen([sys.executable, "-c", ignore], start_new_session=fled)
        note(diary, other.pid)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(diary, os.getpid())
    while True:
        time.sleep(600)


@handler(max_attempts=2)
def overrun(job: Job, diary: str) -> None:
    note(diary, f"{job.attempt} {time.time()}")
    time.sleep(600)


@handler(max_attempts=2)
def segfault(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    ctypes.string_at(0)


@handler(max_attempts=1)
def exit_at_once(diary: str) -> None:
    note(diary, os.getpid())
    os._exit(0)


@handler(max_attempts=1)
def leave() -> None:
    sys.exit(3)


@handler(max_attempts=1)
def eat(megabytes: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hoard = bytearray(megabytes * 1024 * 1024)
    time.sleep(600)
    del hoard


@handler(max_attempts=2)
def kill_worker(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    os.kill(_parent_of(os.getppid()), signal.SIGKILL)
    time.sleep(60)


def _parent_of(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[1])


@functools.cache
def _pool() -> Any:
    return multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1)


@handler(max_attempts=1)
def compute_in_a_pool() -> None:
    _pool().apply_async(abs, (-1,)).get(timeout=5)


@handler
def open_files(diary: str) -> None:
    import resource

    note(diary, " ".join(map(str, resource.getrlimit(resource.RLIMIT_NOFILE))))
