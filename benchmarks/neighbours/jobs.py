"""Jobs that cost the worker as much as they can, again and again, and one that is watched."""

import inspect
import os
import time

from benchmarks.worker import diary
from benchmarks.worker.jobs import STARTED
from longshore import Job, Snooze, handler
from longshore.worker.wire.frames import Progress, encode_record

LIMIT = 0.5
"""Seconds, the watched jobs' own hard limit."""

PAUSE = 2.0
"""Seconds between two runs of a job with a large body: RabbitMQ writes it to its disk each time."""


@handler
def newlines() -> None:
    """As many empty lines as fit into what a job could once log."""
    os.write(1, b"\n" * 262_144)
    raise Snooze(0)


@handler
def characters() -> None:
    """Lines of one character, one write each."""
    for _ in range(20_000):
        os.write(1, b".\n")
    raise Snooze(0)


@handler
def torrent() -> None:
    """Far more than is logged, in long lines."""
    line = b"x" * 65_535 + b"\n"
    for _ in range(500):
        os.write(1, line)
    raise Snooze(0)


@handler
def progress(job: Job) -> None:
    """Records of progress as fast as the socket takes them, past what keeps honest jobs from it."""
    inside = inspect.getclosurevars(job._report).nonlocals
    record = encode_record(Progress(ticket=inside["ticket"], value="x" * 3000))
    until = time.monotonic() + 1
    while time.monotonic() < until:
        inside["self"]._results.send(record)
    raise Snooze(0)


@handler
def bodies(payload: str) -> None:
    """A body of 16 MiB that comes and goes."""
    time.sleep(PAUSE)
    raise Snooze(0)


@handler
def headers() -> None:
    """Headers of 32 KiB that come and go."""
    raise Snooze(0)


@handler(hard_limit=LIMIT)
def watched(job: int) -> None:
    """Is killed at its limit."""
    diary.write(STARTED, job=job)
    time.sleep(60)
