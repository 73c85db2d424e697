"""The handlers that our worker serves while it is measured."""

import time

from benchmarks.worker import diary, ledger
from longshore import SoftTimeLimit, handler

STARTED = "started"
INTERRUPTED = "interrupted"
ENDED = "ended"

BRIEF = 0.001
"""Seconds that a brief job takes."""


@handler
def noop(payload: str) -> None:
    """The job of the throughput rounds."""
    ledger.count()


@handler
def brief(payload: str) -> None:
    """A job that waits a millisecond for something else."""
    time.sleep(BRIEF)
    ledger.count()


@handler
def pause(seconds: float) -> None:
    """Wait, and leave no trace."""
    time.sleep(seconds)


@handler
def stamp(job: int) -> None:
    """Note when it starts."""
    diary.write(STARTED, job=job)


@handler
def hold(job: int, seconds: float) -> None:
    """Wait in one blocking call, and note when that begins and ends."""
    diary.write(STARTED, job=job)
    time.sleep(seconds)
    diary.write(ENDED, job=job)


@handler
def hold_softly(job: int, seconds: float) -> None:
    """Wait in one blocking call, and note when the soft limit interrupts it."""
    diary.write(STARTED, job=job)
    try:
        time.sleep(seconds)
    except SoftTimeLimit:
        diary.write(INTERRUPTED, job=job)
