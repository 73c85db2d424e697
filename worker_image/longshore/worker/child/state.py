"""The process that jobs share: what of it Longshore relies on, and how that is put right.

docs/worker.md, "What one job may change for the next", lists everything, with what is shared.
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
"""What programs handle or ignore: the rest stands for faults."""

_SIGALRM = int(signal.SIGALRM)

TRUSTED_AFTER = 32
"""Jobs of a handler in a row that changed nothing, after which it is trusted."""

LOOK_INTERVAL = 0.01
"""Seconds for which what trusted handlers do is not looked at in full: a full look takes 10 µs,
a fifth of what a job takes that does nothing."""


class ProcessState:
    """Remembers how a child's process is at its start, and puts it right after each job.

    What a job could change for good, so that no other may run here, is for the child to end over.
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
        self._on_alarm = on_alarm
        self._clean: dict[str, int] = {}
        """Jobs in a row that changed nothing, by handler; less than none for one that did once."""

        self._since: set[str] = set()
        """Handlers of the jobs since the latest full look."""

        self._looked_at = 0.0
        self._ended_at = 0.0
        """When the latest job ended."""

        self._is_trusting = False
        """After that job, what Longshore itself relies on is enough to look at."""

        self.has_output = True
        """Whether, after that job, our own descriptor of the output is still the pipe. It could be
        a file of the job's by now."""

        capture.on_last_words()
        self._restore_all()

    def job_has_ended(self, *, after: str) -> float:
        """A job of the handler `after` has ended, but is not told yet: what it has written is to
        be taken at once. Returns the time.
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
        """Whether our own descriptor of the results is still the socket."""
        return _file(self._results) == self._socket

    def restore(self) -> bool:
        """Put right what the job may have changed; False where that is not possible any more.

        What Longshore itself relies on is looked at after every job, and all of it too, unless the
        handler is trusted: then the rest waits for `LOOK_INTERVAL`.
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
        # After a trusted handler it is enough that it is a pipe, which takes half the time.
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
        """Whether anything was otherwise."""
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
        # Nobody changes a limit in Python without this module, and to look takes 6 µs.
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
            # Whoever handles another signal may have set that up once for all jobs. But what is
            # ignored is so in all programs that later jobs start.
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
            asyncio._set_running_loop(None)  # cut short, it could not take this back itself
            changed = True
        if sys.path != self._path_seen:
            # What jobs add may be there for good. What they remove, our own late imports need.
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

    def restore(self) -> bool:
        """Raise what was lowered; whether there was anything.

        Raises ValueError where a hard limit was, which is for good.
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
    """Which file a descriptor is; None for none."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _place() -> tuple[int, int] | None:
    """Which folder is the working directory; None where nobody may know."""
    try:
        found = os.stat(".")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _directory() -> int | None:
    """The working directory; None where it may not be opened."""
    try:
        return _out_of_the_way(os.open(".", os.O_RDONLY | os.O_DIRECTORY))
    except OSError:
        return None


def _out_of_the_way(descriptor: int) -> int:
    """The same where nobody looks for a free one; never one of the first three."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
