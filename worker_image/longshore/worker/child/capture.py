"""What a job writes, by descriptor: Python, C, subprocesses, the last words of a crash."""

import faulthandler
import io
import operator
import os
import signal
import sys
from typing import Any, TextIO

from longshore.worker.child import signals


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
    restore_streams()
    faulthandler.enable(2)
    os.register_at_fork(after_in_child=_end_quietly)


def restore_streams() -> None:
    """Give Python its streams: a job may have closed, replaced or reconfigured them."""
    # New ones at first, since the zygote's may be a file's: those seek. Modules that hold the old
    # ones write to the same descriptors.
    for name, (stream, settings) in _ours.items():
        if stream is None or _settings(stream) != settings:
            new = _open(name)
            _ours[name] = (new, _settings(new))
            setattr(sys, name, new)
        elif getattr(sys, name, None) is not stream:
            setattr(sys, name, stream)
    if not faulthandler.is_enabled():
        faulthandler.enable(2)
    faulthandler.cancel_dump_traceback_later()  # it could end the process


_ours: dict[str, tuple[TextIO | None, tuple[Any, ...]]] = {
    "stdin": (None, ()),
    "stdout": (None, ()),
    "stderr": (None, ()),
}


class _Stream(io.TextIOWrapper):
    """Does not close: `with open(path) if path else sys.stdout as file` is meant to leave it open,
    and whoever holds it, a logging handler for one, writes to it in later jobs."""

    def close(self) -> None:
        self.flush()


class _Buffer(io.BufferedWriter):
    def close(self) -> None:
        self.flush()


_attributes = operator.attrgetter("closed", "encoding", "errors", "line_buffering")


def _settings(stream: TextIO) -> Any:
    try:
        return _attributes(stream)
    except ValueError:  # detached
        return ()


def _open(name: str) -> TextIO:
    if name == "stdin":
        return open(0, encoding="utf-8", errors="backslashreplace", closefd=False)
    raw = io.FileIO(1 if name == "stdout" else 2, "w", closefd=False)
    return _Stream(_Buffer(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True)


def on_last_words() -> None:
    """The parent's first blow at the hard limit: tells where the job hung, then dies by default."""
    faulthandler.unregister(signal.SIGTERM)
    faulthandler.register(signal.SIGTERM, file=2, all_threads=True, chain=True)


def _end_quietly() -> None:
    # In a process that a job forks, SIGTERM comes from the job, and asks for no words. A handler of
    # the job's own stays.
    if signals.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        faulthandler.unregister(signal.SIGTERM)


def wait_when_full(output: int) -> None:
    """Make writers to `output` wait for room again: a job may have changed that for all of them.

    asyncio's `connect_write_pipe` does, and Node.js as a subprocess.
    """
    if not os.get_blocking(output):  # 0.2 µs
        os.set_blocking(output, True)


def flush() -> None:
    """Hand over what Python still buffers."""
    (stdout, _), (stderr, _) = _ours["stdout"], _ours["stderr"]
    for stream in (stdout, stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            _flush(stream)
    for stream in (sys.stdout, sys.stderr):
        if stream is not stdout and stream is not stderr and stream is not None:
            _flush(stream)


def _flush(stream: TextIO) -> None:
    try:  # noqa: SIM105 - after every job, and four times the price of `try`
        stream.flush()
    except Exception:  # noqa: S110 - a job may have closed or replaced them
        pass
