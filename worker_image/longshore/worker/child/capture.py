"""Captures what a job writes, by descriptor: Python, C, subprocesses, and the output of a crash."""

import contextlib
import faulthandler
import io
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from longshore.worker.child import signals


def redirect(output: int) -> None:
    """Make `output` this process's stdout and stderr, and /dev/null its stdin.

    `output` itself stays open, at a number that jobs do not use.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.set_inheritable(output, False)
    restore_streams()
    faulthandler.enable(2)
    os.register_at_fork(after_in_child=_end_quietly)


def restore_streams() -> bool:
    """Restore Python's streams, which a job may have closed, replaced or reconfigured.

    Returns whether one has.
    """
    changed = _Touched.ours
    if changed:
        # At first they are new, since the zygote's may be files, which seek. Modules that hold the
        # old ones write to the same descriptors.
        _ours[:] = (
            _Input(io.BufferedReader(_Raw(0)), **_HOW),
            _Stream(_Buffer(_Raw(1, "w")), line_buffering=True, **_HOW),
            _Stream(_Buffer(_Raw(2, "w")), line_buffering=True, **_HOW),
        )
        _Touched.ours = False
    stdin, stdout, stderr = _ours
    if (
        getattr(sys, "stdout", None) is not stdout
        or getattr(sys, "stderr", None) is not stderr
        or getattr(sys, "stdin", None) is not stdin
    ):
        sys.stdin, sys.stdout, sys.stderr = stdin, stdout, stderr
        changed = True
    if not faulthandler.is_enabled():
        faulthandler.enable(2)
        changed = True
    faulthandler.cancel_dump_traceback_later()  # it could end the process
    return changed


_ours: list[TextIO] = []
_HOW: Mapping[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}


class _Touched:
    """Whether a job has done something to our streams that must be undone."""

    ours = True


# Our streams do not close: `with open(path) if path else sys.stdout as file` must leave it open,
# because other code, such as a logging handler, holds it and writes to it in later jobs.


class _Raw(io.FileIO):
    def __init__(self, descriptor: int, mode: str = "r") -> None:
        super().__init__(descriptor, mode, closefd=False)

    def close(self) -> None:
        _Touched.ours = True
        super().close()


class _Buffer(io.BufferedWriter):
    def close(self) -> None:
        self.flush()

    def detach(self) -> io.RawIOBase:
        _Touched.ours = True
        return super().detach()


class _Text(io.TextIOWrapper):
    def detach(self) -> Any:
        _Touched.ours = True
        return super().detach()

    def reconfigure(self, **how: Any) -> None:
        _Touched.ours = True
        super().reconfigure(**how)


class _Stream(_Text):
    mode = "w"

    def close(self) -> None:
        self.flush()


class _Input(_Text):
    mode = "r"

    def close(self) -> None:
        _Touched.ours = True
        super().close()


def on_last_words() -> None:
    """Make SIGTERM, which the parent sends first at the hard limit, print where the job hangs and
    then end the process by default."""
    faulthandler.unregister(signal.SIGTERM)
    faulthandler.register(signal.SIGTERM, file=2, all_threads=True, chain=True)


def _end_quietly() -> None:
    # In a process that a job forks, SIGTERM comes from the job and should print nothing. The job's
    # own handler stays.
    if signals.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        faulthandler.unregister(signal.SIGTERM)


def wait_when_full(output: int) -> None:
    """Make writers to `output` wait for room again, which a job may have changed for all of them.

    asyncio's `connect_write_pipe` does, and Node.js as a subprocess.
    """
    if not os.get_blocking(output):  # 0.2 µs
        os.set_blocking(output, True)


def flush() -> None:
    """Write what Python still buffers."""
    _, stdout, stderr = _ours or (None, None, None)
    try:
        for stream in (stdout, stderr, sys.__stdout__, sys.__stderr__):
            stream.flush()  # type: ignore[union-attr]  # None raises, as a closed one does
        if sys.stdout is stdout and sys.stderr is stderr:
            return
    except BaseException:  # noqa: S110 - a job may have closed, replaced or removed them
        pass
    for stream in (stdout, stderr):
        _flush(stream)
    for name in ("__stdout__", "__stderr__", "stdout", "stderr"):
        _flush(getattr(sys, name, None))


def _flush(stream: TextIO | None) -> None:
    # The `flush` of a job's own stream may raise anything.
    with contextlib.suppress(BaseException):
        stream.flush()  # type: ignore[union-attr]  # None raises, which is suppressed
