"""The process that jobs share: the state of it that Longshore relies on, and how it is restored.

docs/worker.md, "What one job may change for the next", lists everything, including what is shared.
"""

import asyncio
import fcntl
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from longshore.worker.child import capture, signals
from longshore.worker.kept import monotonic

_NUMBERS = tuple(
    int(getattr(signal, name))
    for name in (
        *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGINT", "SIGPIPE", "SIGQUIT", "SIGTERM"),
        *("SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGXCPU", "SIGXFSZ"),
    )
)
"""Signals that programs handle or ignore; the others indicate faults."""

_SIGALRM = int(signal.SIGALRM)

TRUSTED_AFTER = 32
"""Number of jobs in a row that changed nothing after which their handler is trusted."""

LOOK_INTERVAL = 0.01
"""Seconds between full checks after jobs of trusted handlers: a full check takes 10 µs, a fifth of
the time of a job that does nothing."""


class ProcessState:
    """Remembers the state of a child's process at its start, and restores it after each job.

    If a job has changed something irrevocably, so that no other job may run here, the child ends.
    """

    def __init__(
        self, output: int, results: int, *, on_alarm: Callable[[int, FrameType | None], Any]
    ) -> None:
        self._output, self._results = output, results
        self._pipe, self._socket = _file(output), _file(results)
        self._null = _out_of_the_way(os.open(os.devnull, os.O_RDONLY))
        self._files = [*map(_file, (self._null, output, output))]
        self._directory = _directory()
        self._place = _place()
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
            # As in any Python process, so that programs that a job starts get the default.
            signal.SIGINT: signal.default_int_handler,
            signal.SIGTERM: int(signal.SIG_DFL),
            # Python ignores these two, which programs would inherit; they do not inherit handlers.
            signal.SIGPIPE: _on_nothing,
            signal.SIGXFSZ: _on_nothing,
        }
        for number, disposition in self._own.items():
            signals.setsignal(number, disposition)
        self._dispositions = [*map(signals.getsignal, _NUMBERS)]
        self._on_alarm = on_alarm
        self._clean: dict[str, int] = {}
        """Number of jobs in a row that changed nothing, by handler; negative if one ever did."""

        self._since: set[str] = set()
        """Handlers of the jobs since the latest full check."""

        self._looked_at = 0.0
        self._ended_at = 0.0
        """When the latest job ended."""

        self._is_trusting = False
        """After that job, only what Longshore itself relies on needs to be checked."""

        self.has_output = True
        """Whether, after that job, our own descriptor of the output is still the pipe. By now, it
        could be a file that the job has opened."""

        capture.on_last_words()
        self._restore_all()

    def job_has_ended(self, *, after: str) -> float:
        """Prepare for reading the output of a job of the handler `after`, which has ended but has
        not been reported yet. Return the time.
        """
        self._since.add(after)
        now = self._ended_at = monotonic()
        self._is_trusting = (
            now < self._looked_at + LOOK_INTERVAL and self._clean.get(after, 0) >= TRUSTED_AFTER
        )
        self.has_output = self._is_pipe_there()
        if self.has_output:
            capture.wait_when_full(self._output)
        return now

    def has_results(self) -> bool:
        """Return whether our own descriptor of the results is still the socket."""
        return _file(self._results) == self._socket

    def restore(self) -> bool:
        """Restore what the job may have changed; return False if that is no longer possible.

        What Longshore itself relies on is checked after every job. So is everything else, unless
        the handler is trusted: then the rest is checked only every `LOOK_INTERVAL`.
        """
        try:
            if self._is_trusting:
                self._restore_ours()
                return True
            if _file(self._output) != self._pipe or not self.has_results():
                return False
            changed = self._restore_all()
        except (OSError, ValueError):  # not permitted, or the descriptors are closed
            return False
        self._looked_at = self._ended_at
        for handler in self._since:
            # It may have been any of them, and it may happen again.
            self._clean[handler] = -sys.maxsize if changed else self._clean.get(handler, 0) + 1
        self._since.clear()
        return os.geteuid() == self._user

    def _is_pipe_there(self) -> bool:
        # After a trusted handler, it is sufficient that it is any pipe, which takes half the time.
        if self._is_trusting:
            try:
                return fcntl.fcntl(self._output, fcntl.F_GETPIPE_SZ) > 0
            except OSError:
                return False
        return _file(self._output) == self._pipe

    def _restore_ours(self) -> None:
        os.dup2(self._output, 1)
        os.dup2(self._output, 2)
        signals.unblock_all()
        if signals.getsignal(_SIGALRM) != self._on_alarm:
            self._restore_dispositions()
        capture.restore_streams()

    def _restore_all(self) -> bool:
        """Restore everything; return whether anything had changed."""
        changed = False
        for number, (file, source) in enumerate(
            zip(self._files, (self._null, self._output, self._output), strict=True)
        ):
            if _file(number) != file:
                os.dup2(source, number)
                changed = True
        changed |= os.umask(self._umask) != self._umask
        if self._directory is not None and _place() != self._place:
            os.fchdir(self._directory)
            changed = True
        if os.getpriority(os.PRIO_PROCESS, 0) != self._priority:
            os.setpriority(os.PRIO_PROCESS, 0, self._priority)
            changed = True
        if os.getpgrp() != self._pid:
            os.setpgid(0, 0)
            changed = True
        # Limits are changed in Python only with this module, and a check takes 6 µs.
        if "resource" in sys.modules:
            changed |= self._limits.restore()
        changed |= bool(signals.unblock_all())
        if [*map(signals.getsignal, _NUMBERS)] != self._dispositions:
            self._restore_dispositions()
            changed = True
        changed |= capture.restore_streams()
        changed |= self._restore_python()
        return changed

    def _restore_dispositions(self) -> None:
        for number, before in zip(_NUMBERS, self._dispositions, strict=True):
            now = signals.getsignal(number)
            # A handler of another signal may have been set up once for all jobs. But an ignored
            # signal is ignored by all programs that later jobs start.
            if now != before and (number in self._own or now == signal.SIG_IGN):
                signals.setsignal(number, before)
                if number == signal.SIGTERM:
                    capture.on_last_words()
                elif number == signal.SIGALRM:
                    signals.stop_alarm()
        self._dispositions = [*map(signals.getsignal, _NUMBERS)]

    def _restore_python(self) -> bool:
        changed = False
        if _python_settings() != self._python:
            changed = True
            trace, profile, recursion, collects, thresholds = self._python
            sys.settrace(trace)
            sys.setprofile(profile)
            sys.setrecursionlimit(recursion)
            gc.enable() if collects else gc.disable()
            gc.set_threshold(*thresholds)
        if asyncio._get_running_loop() is not None:
            asyncio._set_running_loop(None)  # an interrupted loop could not reset this itself
            changed = True
        if sys.path != self._path_seen:
            # Entries that jobs add may be meant to stay. Those that they remove are needed by our
            # own late imports.
            sys.path += [entry for entry in self._path if entry not in sys.path]
            self._path_seen = list(sys.path)
            changed = True
        return changed


def _python_settings() -> tuple[Any, ...]:
    return (
        sys.gettrace(),
        sys.getprofile(),
        sys.getrecursionlimit(),
        gc.isenabled(),
        gc.get_threshold(),
    )


def _on_nothing(_number: int, _frame: FrameType | None) -> None:
    """Do nothing, which is like ignoring the signal: the call that caused it fails."""


class _Limits:
    """The kernel's limits on this process, RLIMIT_*."""

    def __init__(self) -> None:
        was_imported = "resource" in sys.modules
        import resource

        self._resource = resource
        self._numbers = tuple(getattr(resource, name) for name in _LIMITS)
        self._before = [*map(resource.getrlimit, self._numbers)]
        if not was_imported:
            del sys.modules["resource"]

    def restore(self) -> bool:
        """Raise limits that were lowered; return whether there were any.

        Raises ValueError if a hard limit was lowered, which is irrevocable.
        """
        changed = False
        for number, before in zip(self._numbers, self._before, strict=True):
            if self._resource.getrlimit(number) != before:
                self._resource.setrlimit(number, before)
                changed = True
        return changed


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


def _file(descriptor: int) -> tuple[int, int] | None:
    """Return the identity of a descriptor's file; None if it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _place() -> tuple[int, int] | None:
    """Return the identity of the working directory; None if it cannot be determined."""
    try:
        found = os.stat(".")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _directory() -> int | None:
    """Open the working directory; None if that is not permitted."""
    try:
        return _out_of_the_way(os.open(".", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return None


def _out_of_the_way(descriptor: int) -> int:
    """Move a descriptor to a number of 10 or more, out of the way of other code."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
