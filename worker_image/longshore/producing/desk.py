"""A desk: does errands one after another, in a thread that lives only while there are any.

A signal handler may raise anywhere in a caller: a soft time limit, Ctrl-C. A lock that such a
caller held, or a connection that it drove, would be left as it was for good. So callers hold
nothing. They put an errand on a queue, and a thread that no exception from outside can reach does
it. A caller that is interrupted leaves an errand behind, never a broken state.

The thread is no lasting one: a process that forks has, but for a moment after an errand, only the
threads that it started itself.
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
"""Seconds that a caller waits past its deadline, for the error that knows how far things got."""

TURN = 0.02
"""Seconds after which a caller looks whether its errand waits for nobody, where no thread can be
started."""

LINGER = 0.1
"""Seconds without an errand after which the thread ends. To start one takes 0.2 ms, a third of what
RabbitMQ takes for a confirm."""


class Unfinished(Exception):
    """The caller that did the errand for another one was struck meanwhile."""


class Errand:
    """Something to do until `deadline`, a moment of `time.monotonic`, and who waits for it.

    `stage` says in words how far it got; the errand's work sets it, and `has_begun` once it has
    done the step that cannot be undone.
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
        """Asked every `TURN` seconds while it waits, where no thread does errands."""

    def has_time_for(self, seconds: float) -> bool:
        """Whether a step of `seconds` fits into the time that is left.

        Half of all its time always counts as enough: a guess must not keep it from being tried.
        """
        return self.deadline - time.monotonic() >= min(seconds, self._half)

    def begin(self) -> None:
        """Announce the step that cannot be undone. Raises Abandoned if the caller was first."""
        if not self.has_begun and not self._claim.acquire(blocking=False):
            raise Abandoned
        self.has_begun = True

    def abandon(self) -> bool:
        """Wait no more. True if what `begin` announces was not done, and now never is."""
        self.is_abandoned = True
        return self._claim.acquire(blocking=False)

    def do(self) -> None:
        """Do it; called by the desk. What goes wrong is raised where it is waited for.

        Except what strikes the thread that does it, which may be another caller's: that is raised
        here, and Unfinished there.
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
        """Whether it is still to be done, and in time."""
        return self._ended.locked() and time.monotonic() < self.deadline

    def wait(self) -> bool:
        """Whether it ended in time, `GRACE` included. Raises what its work raised."""
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
        """Have it done after those that came before."""
        self._errands.append(errand)
        self._see_to(errand)

    def _see_to(self, errand: Errand) -> None:
        if self._is_served.locked():
            with contextlib.suppress(RuntimeError):  # others had news as well
                self._news.release()
            if not self._has_threads:
                # Who serves now does so for an errand of its own, and may leave before this one.
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
            # Signals are for the main thread: one that waits in a lock would not see them here.
            # (gevent makes a greenlet of this thread, and runs it there.)
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._while_served(self._do_all_and_linger)

    def _serve_until_done(self, errand: Errand) -> None:
        """Do errands in the caller's thread, up to its own or to its deadline.

        What strikes the caller at whatever line, the desk is free afterwards.
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
        with contextlib.suppress(RuntimeError):  # it is free
            self._is_served.release()
        return True

    def _while_served(self, work: Callable[[], None]) -> None:
        # An errand that is submitted just before the release is seen right after it.
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
    """A value of which each process has its own, made at first use.

    What a fork has copied from its parent is neither used nor let go: it may have been copied in
    the middle of a change, and to destroy it could speak on the parent's connection.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[tuple[int, int], T] = {}

    def get(self) -> T:
        """This process's own."""
        found = self.existing()
        # One step, so that of two threads both get the same.
        return self._values.setdefault(_process(), self._make()) if found is None else found

    def existing(self) -> T | None:
        """This process's own, if it was ever asked for."""
        return self._values.get(_process())


def _process() -> tuple[int, int]:
    # Ids return after a while, so forks are counted; some servers fork without Python's knowledge.
    return os.getpid(), _forks


_forks = 0


def _count_fork() -> None:
    global _forks  # noqa: PLW0603 - it is about the process
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)
