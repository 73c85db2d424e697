"""A desk: does errands one after another, in a thread that lives only while there are any.

A signal handler may raise anywhere in a caller, for a soft time limit or Ctrl-C. A lock that such a
caller holds, or a connection that it drives, would stay as it is forever. So callers hold nothing.
They put an errand on a queue, and it is done by a thread that no exception from outside can reach.
An interrupted caller leaves an errand behind, but never a broken state.

The thread is short-lived, so that a process that forks has only the threads that it started itself,
except for a moment after an errand.
"""

import _thread
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from longshore.amqp.errors import Abandoned

T = TypeVar("T")

GRACE = 0.3
"""Seconds that a caller waits past its deadline for the error that shows how far things got."""

TURN = 0.02
"""Seconds between a caller's checks whether its errand is being served, if no thread can be
started."""

LINGER = 0.1
"""Seconds without an errand after which the thread ends. Starting one takes 0.2 ms, a third of the
time that RabbitMQ takes for a confirm."""


class Unfinished(Exception):
    """The caller that was doing another caller's errand was interrupted."""


class Errand:
    """Something to do until `deadline`, a moment of `time.monotonic`, with the caller that waits.

    `stage` describes how far it has got and is set by the errand's work; `has_begun` is set before
    the step that cannot be undone.
    """

    def __init__(self, work: Callable[["Errand"], None], *, deadline: float) -> None:
        self._work = work
        self.deadline = deadline
        self._half = (deadline - time.monotonic()) / 2
        self.stage = "other threads kept the connection busy"
        self.is_abandoned = False
        self.has_begun = False
        self._claim = _thread.allocate_lock()
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        self._error: BaseException | None = None
        self.see_to: Callable[[Errand], None] | None = None
        """Called every `TURN` seconds during the wait, if no thread does errands."""

    def has_time_for(self, seconds: float) -> bool:
        """Return whether a step of `seconds` fits into the remaining time.

        Half of the total time always counts as enough, so that a guess never prevents an attempt.
        """
        return self.deadline - time.monotonic() >= min(seconds, self._half)

    def begin(self) -> None:
        """Announce the step that cannot be undone. Raises Abandoned if the caller has given up."""
        if not self.has_begun and not self._claim.acquire(blocking=False):
            raise Abandoned
        self.has_begun = True

    def abandon(self) -> bool:
        """Stop waiting. Returns True if `begin` was not called, and can no longer succeed."""
        self.is_abandoned = True
        return self._claim.acquire(blocking=False)

    def do(self) -> None:
        """Do the errand; called by the desk. Exceptions are raised where the errand is awaited.

        An interruption of the thread that does it, which may be another caller's, is raised here,
        and Unfinished is raised there.
        """
        try:
            if not self.is_abandoned:
                self._work(self)
        except Exception as error:
            self._error = error
        except BaseException:
            self._error = Unfinished("the thread that sent it was interrupted")
            raise
        finally:
            self._ended.release()

    @property
    def is_awaited(self) -> bool:
        """Whether the errand has not ended and its deadline has not passed."""
        return self._ended.locked() and time.monotonic() < self.deadline

    def wait(self) -> bool:
        """Return whether it ended in time, including `GRACE`. Raises what its work raised."""
        until = max(time.monotonic(), self.deadline) + GRACE
        while not self._ended.acquire(timeout=max(0.0, self._until_next_look(until))):
            if time.monotonic() >= until:
                return False
            if self.see_to is not None:
                self.see_to(self)
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return True

    def _until_next_look(self, until: float) -> float:
        left = until - time.monotonic()
        return left if self.see_to is None else min(left, TURN)


class Desk:
    """Takes errands from any thread. Belongs to one process; see `PerProcess`."""

    def __init__(self) -> None:
        self._errands: deque[Errand] = deque()
        self._is_served = _thread.allocate_lock()
        self._news = _thread.allocate_lock()
        self._news.acquire()
        self._has_threads = True

    def submit(self, errand: Errand) -> None:
        """Have an errand done after all earlier ones."""
        self._errands.append(errand)
        self._see_to(errand)

    def _see_to(self, errand: Errand) -> None:
        if self._is_served.locked():
            with contextlib.suppress(RuntimeError):  # another errand has woken it already
                self._news.release()
            if not self._has_threads:
                # The thread that serves now does its own errand, and may leave before this one.
                errand.see_to = self._see_to
            return
        try:
            _thread.start_new_thread(self._serve, ())
        except RuntimeError:  # no more threads are allowed
            self._has_threads = False
            self._serve_until_done(errand)
        else:
            self._has_threads = True

    def _serve(self) -> None:
        if sys.platform == "linux" and _thread.get_native_id() != os.getpid():
            # Signals are for the main thread, which would not notice one that is delivered here
            # while it waits for a lock.
            # (gevent turns this thread into a greenlet of the main thread.)
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._while_served(self._do_all_and_linger)

    def _serve_until_done(self, errand: Errand) -> None:
        """Do errands in the caller's thread, up to its own errand or its deadline.

        Wherever the caller is interrupted, the desk is free afterwards.
        """
        errand.see_to = self._see_to
        is_mine = is_free = False
        try:
            try:
                is_mine = self._is_served.acquire(blocking=False)
                while is_mine and self._errands and errand.is_awaited:
                    self._errands.popleft().do()
            finally:
                is_free = not is_mine or self._free()
        finally:
            if is_mine and not is_free:
                self._free()

    def _free(self) -> bool:
        with contextlib.suppress(RuntimeError):  # it is free already
            self._is_served.release()
        return True

    def _while_served(self, work: Callable[[], None]) -> None:
        # An errand that is submitted just before the release is noticed right after it.
        while self._errands and self._is_served.acquire(blocking=False):
            try:
                work()
            finally:
                self._is_served.release()

    def _do_all_and_linger(self) -> None:
        self._do_all()
        while self._news.acquire(timeout=LINGER):
            self._do_all()

    def _do_all(self) -> None:
        while self._errands:
            self._errands.popleft().do()


class PerProcess(Generic[T]):
    """A value that each process has for itself, created at first use.

    A copy that a fork made of its parent's value is neither used nor freed. It may have been copied
    in the middle of a change, and freeing it could send data on the parent's connection.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[tuple[int, int], T] = {}

    def get(self) -> T:
        """Return this process's value; create it if it does not exist."""
        found = self.existing()
        # In one step, so that two threads get the same value.
        return self._values.setdefault(_process(), self._make()) if found is None else found

    def existing(self) -> T | None:
        """Return this process's value, if it exists."""
        return self._values.get(_process())


def _process() -> tuple[int, int]:
    # Ids are reused after a while, so forks are counted; some servers fork unnoticed by Python.
    return os.getpid(), _forks


_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - it is about the process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)
