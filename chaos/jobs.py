"""The handlers; mounted into the worker image, so they import nothing of this package.

Each writes its first and its last line into a folder of the node, by one `write` to a file opened
for appending: what is written outlives any kill.
"""

import json
import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from longshore import DeliveryLost, Draining, Job, Snooze, handler

FOLDER = Path("/history")
POD = os.environ.get("HOSTNAME", "")
ALIVE_EVERY = 0.02
"""Seconds between two signs of life of a job that never returns."""


def tell(event: str, **fields: object) -> None:
    """One line of the history. The file is opened anew: a forked child shares no descriptor."""
    line = json.dumps({"event": event, **fields, "at": time.monotonic()}) + "\n"
    descriptor = os.open(FOLDER / f"{POD}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@contextmanager
def told(job: Job, number: int) -> Iterator[str]:
    """Tell of a run's start and end; the run's own name."""
    run = uuid.uuid4().hex
    tell("Started", number=number, attempt=job.attempt, pod=POD, run=run)
    way = "done"
    try:
        yield run
    except Snooze:
        way = "snoozed"
        raise
    except (DeliveryLost, Draining):
        way = "interrupted"
        raise
    except BaseException:
        way = "failed"
        raise
    finally:
        tell("Ended", run=run, way=way)


@handler
def noop(job: Job, number: int) -> None:
    with told(job, number):
        pass


@handler
def brief(job: Job, number: int) -> None:
    with told(job, number):
        # Not `time.sleep`, of which libfaketime makes EINVAL where the monotonic clock stays true.
        select.select([], [], [], 0.05)


@handler
def long(job: Job, number: int) -> None:
    with told(job, number):
        for _ in range(50):
            time.sleep(0.1)
            job.progress({"number": number})


@handler
def prints(job: Job, number: int) -> None:
    with told(job, number):
        for line in range(200):
            print("line", line, "of job", number)


@handler
def spawns(job: Job, number: int) -> None:
    with told(job, number):
        subprocess.Popen(["sleep", "2"], start_new_session=True)
        subprocess.run(["sleep", "0.05"], check=True)


@handler
def twice(job: Job, number: int) -> None:
    with told(job, number):
        if job.attempt < 3:
            raise RuntimeError("not yet")


@handler
def snoozes(job: Job, number: int) -> None:
    with told(job, number):
        slept = FOLDER / f"snoozed-{number}"
        if not slept.exists():
            slept.touch()
            raise Snooze(1)


@handler(max_attempts=2, hard_limit="2s")
def overrun(job: Job, number: int) -> None:
    """Goes on until it is killed; SIGTERM is refused, so that all of the grace is taken."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with told(job, number) as run:
        while True:
            tell("Alive", run=run)
            time.sleep(ALIVE_EVERY)


@handler(max_attempts=2)
def crashes(job: Job, number: int) -> None:
    run = uuid.uuid4().hex
    tell("Started", number=number, attempt=job.attempt, pod=POD, run=run)
    os.kill(os.getpid(), signal.SIGKILL)
