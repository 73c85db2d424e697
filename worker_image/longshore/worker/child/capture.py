"""What a job writes, by descriptor: Python, C, subprocesses, the last words of a crash."""

import faulthandler
import os
import signal
import sys
from typing import TextIO


def redirect(output: int) -> None:
    """Make `output` this process's stdout and stderr, and /dev/null its stdin.

    `output` itself stays open, out of jobs' way.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.set_inheritable(output, False)
    # New ones, since the zygote's may be a file's: those seek. Modules that hold the old ones write
    # to the same descriptors.
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)
    faulthandler.enable(2)
    # The parent's first blow at the hard limit: tells where the job hung, then dies by default.
    faulthandler.register(signal.SIGTERM, file=2, all_threads=True, chain=True)


def wait_when_full(output: int) -> None:
    """Make writers to `output` wait for room again: a job may have changed that for all of them.

    asyncio's `connect_write_pipe` does, and Node.js as a subprocess.
    """
    if not os.get_blocking(output):  # 0.2 µs
        os.set_blocking(output, True)


def flush() -> None:
    """Hand over what Python still buffers."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:  # noqa: SIM105 - after every job, and four times the price of `try`
                stream.flush()
            except Exception:  # noqa: S110 - a job may have closed or replaced them
                pass


def _stream(descriptor: int) -> TextIO:
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
