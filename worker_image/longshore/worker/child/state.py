"""The process that jobs share: what of it Longshore relies on, and how that is put right.

docs/worker.md, "What one job may change for the next", lists everything, with what is shared.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from longshore.worker.child import capture, signals

_NUMBERS = tuple(
    int(getattr(signal, name))
    for name in (
        *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGINT", "SIGPIPE", "SIGQUIT", "SIGTERM"),
        *("SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGXCPU", "SIGXFSZ"),
    )
)
"""What programs handle or ignore: the rest stands for faults."""


class ProcessState:
    """Remembers how a child's process is at its start, and puts it right after each job.

    What a job could change for good, so that no other may run here, is for the child to end over.
    """

    def __init__(self, output: int, *, on_alarm: Callable[[int, FrameType | None], Any]) -> None:
        self._output = output
        self._null = _out_of_the_way(os.open(os.devnull, os.O_RDONLY))
        self._directory = _directory()
        self._umask = os.umask(0)
        self._priority = os.getpriority(os.PRIO_PROCESS, 0)
        self._user = os.geteuid()
        self._pid = os.getpid()
        self._path = tuple(sys.path)
        self._path_seen = list(sys.path)
        self._python = _python_settings()
        self._limits = _Limits()
        self._own: dict[int, signals.Disposition] = {
            signal.SIGALRM: on_alarm,
            # As in any Python: a program that a job starts gets what is not ignored by default.
            signal.SIGINT: signal.default_int_handler,
            signal.SIGTERM: int(signal.SIG_DFL),
            # Python ignores these two, which programs would inherit; a handler they do not.
            signal.SIGPIPE: _on_nothing,
            signal.SIGXFSZ: _on_nothing,
        }
        for number, disposition in self._own.items():
            signals.setsignal(number, disposition)
        self._dispositions = [*map(signals.getsignal, _NUMBERS)]
        capture.on_last_words()
        self.restore()

    def restore(self) -> bool:
        """Put everything right; False where that is not possible any more."""
        try:
            os.dup2(self._null, 0)
            os.dup2(self._output, 1)
            os.dup2(self._output, 2)
            os.umask(self._umask)
            if self._directory is not None:
                os.fchdir(self._directory)
            if os.getpriority(os.PRIO_PROCESS, 0) != self._priority:
                os.setpriority(os.PRIO_PROCESS, 0, self._priority)
            if os.getpgrp() != self._pid:
                os.setpgid(0, 0)
            # Its kernel has forgotten by now to end it with the zygote.
            if os.geteuid() != self._user:
                return False
            # Nobody changes a limit in Python without this module, and to look takes 6 µs.
            if "resource" in sys.modules:
                self._limits.restore()
        except (OSError, ValueError):  # not permitted, or the descriptors are closed
            return False
        signals.unblock_all()
        if [*map(signals.getsignal, _NUMBERS)] != self._dispositions:
            self._restore_dispositions()
        capture.restore_streams()
        self._restore_python()
        return True

    def _restore_dispositions(self) -> None:
        for number, before in zip(_NUMBERS, self._dispositions, strict=True):
            now = signals.getsignal(number)
            # Whoever handles another signal may have set that up once for all jobs. But what is
            # ignored is so in all programs that later jobs start.
            if now != before and (number in self._own or now == signal.SIG_IGN):
                signals.setsignal(number, before)
                if number == signal.SIGTERM:
                    capture.on_last_words()
                elif number == signal.SIGALRM:
                    signals.stop_alarm()
        self._dispositions = [*map(signals.getsignal, _NUMBERS)]

    def _restore_python(self) -> None:
        if _python_settings() != self._python:
            trace, profile, recursion, collects, thresholds = self._python
            sys.settrace(trace)
            sys.setprofile(profile)
            sys.setrecursionlimit(recursion)
            gc.enable() if collects else gc.disable()
            gc.set_threshold(*thresholds)
        if asyncio._get_running_loop() is not None:
            asyncio._set_running_loop(None)  # cut short, it could not take this back itself
        if sys.path != self._path_seen:
            # What jobs add may be there for good. What they remove, our own late imports need.
            sys.path += [entry for entry in self._path if entry not in sys.path]
            self._path_seen = list(sys.path)


def _python_settings() -> tuple[Any, ...]:
    return (
        sys.gettrace(),
        sys.getprofile(),
        sys.getrecursionlimit(),
        gc.isenabled(),
        gc.get_threshold(),
    )


def _on_nothing(_number: int, _frame: FrameType | None) -> None:
    """As good as ignoring: the call that brought it about fails."""


class _Limits:
    """Limits of the kernel on this process, RLIMIT_*."""

    def __init__(self) -> None:
        was_imported = "resource" in sys.modules
        import resource

        self._resource = resource
        self._numbers = tuple(getattr(resource, name) for name in _LIMITS)
        self._before = [*map(resource.getrlimit, self._numbers)]
        if not was_imported:
            del sys.modules["resource"]

    def restore(self) -> None:
        """Raise what was lowered. Raises ValueError where a hard limit was, which is for good."""
        for number, before in zip(self._numbers, self._before, strict=True):
            if self._resource.getrlimit(number) != before:
                self._resource.setrlimit(number, before)


_LIMITS = (
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_STACK",
)


def _directory() -> int | None:
    """The working directory; None where it may not be opened."""
    try:
        return _out_of_the_way(os.open(".", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return None


def _out_of_the_way(descriptor: int) -> int:
    """The same where nobody looks for a free one; never one of the first three."""
    import fcntl

    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
