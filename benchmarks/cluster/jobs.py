"""The handler of the benchmark, mounted into the plain worker image: it notes when it ran."""

import json
import os
import time

from longshore import Job, handler

LEDGER = "/ledger/ledger"


@handler
def work(job: Job, seconds: float) -> None:
    """Take so long."""
    note("start", job)
    time.sleep(seconds)
    note("end", job)


def note(what: str, job: Job) -> None:
    """One line; the kernel keeps lines of one write apart."""
    line = {
        "what": what,
        "job": job.id,
        "attempt": job.attempt,
        "pod": os.environ["LONGSHORE_POD_NAME"],
        "at": time.time(),
    }
    descriptor = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(descriptor, json.dumps(line).encode() + b"\n")
    os.close(descriptor)
