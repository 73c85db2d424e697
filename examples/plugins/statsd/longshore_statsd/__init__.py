"""Middleware `statsd`: sends how long jobs ran and how they ended to `STATSD_ADDRESS` by UDP."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from longshore import Job

_HOST, _, _PORT = os.environ.get("STATSD_ADDRESS", "127.0.0.1:8125").rpartition(":")
_ADDRESS = (_HOST, int(_PORT))

# Threads and connections belong to the first job: this module is imported before the worker forks.
# A UDP socket has neither, so it may be made here.
_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@contextmanager
def middleware(job: Job) -> Iterator[None]:
    """Time one run; an exception of the handler passes through."""
    outcome, started = "succeeded", time.monotonic()
    try:
        yield
    except BaseException as error:
        outcome = "announced" if job.expects(error) else "failed"
        raise
    finally:
        name = f"longshore.{job.handler.replace('.', '_')}"
        milliseconds = (time.monotonic() - started) * 1000
        _send(f"{name}.{outcome}:1|c\n{name}.seconds:{milliseconds:.3f}|ms")


def _send(lines: str) -> None:
    with suppress(OSError):  # numbers are not worth a job
        _socket.sendto(lines.encode(), _ADDRESS)
