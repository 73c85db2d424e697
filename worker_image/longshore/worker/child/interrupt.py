"""Turns the parent's request to end a job into an exception in the handler, and nowhere else."""

import asyncio
import sys
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from longshore.errors import DeliveryLost, Draining, Interrupted, SoftTimeLimit
from longshore.worker.wire.frames import Cause, Mark

_EXCEPTIONS: dict[Cause, type[Interrupted]] = {
    Cause.SOFT_LIMIT: SoftTimeLimit,
    Cause.DRAINING: Draining,
    Cause.DELIVERY_LOST: DeliveryLost,
}
_MESSAGES = {
    Cause.SOFT_LIMIT: "the soft time limit has passed",
    Cause.DRAINING: "the worker shuts down and returns the job to its queue",
    Cause.DELIVERY_LOST: "the broker has given the job to another worker",
}


class Interrupts:
    """Turns SIGALRM into an exception, but only while user code runs.

    Python runs signal handlers in the main thread between two bytecodes, so one may run just before
    the handler starts, in which case it waits, or just after the handler returns, which is too late
    to matter.
    """

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._user_code = _UserCode(self)
        self._armed = False
        self._task: asyncio.Task[object] | None = None
        self._seen: Cause | None = None
        """Cause of the running job's interruption, once it was delivered."""

        self._handler_has_ended = False
        self._raised: Interrupted | None = None

    def watch(self) -> None:
        """Notice interruptions that Python swallows: if the signal arrives in a destructor or in a
        callback of an event loop, the exception ends nothing else.

        They are raised again with the parent's next signal.
        """
        shown = sys.unraisablehook

        def unraisable(found: "sys.UnraisableHookArgs") -> None:
            self._on_swallowed(found.exc_value)
            shown(found)

        sys.unraisablehook = unraisable
        called = asyncio.BaseEventLoop.call_exception_handler

        def call_exception_handler(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
            self._on_swallowed(context.get("exception"))
            called(loop, context)

        # mypy does not accept a plain assignment to a method.
        setattr(asyncio.BaseEventLoop, "call_exception_handler", call_exception_handler)  # noqa: B010

    def deliver_to(self, task: asyncio.Task[object] | None) -> None:
        """Cancel `task` instead of raising, for `async def` handlers."""
        self._task = task

    def handler_has_ended(self) -> None:
        """Deliver no more drains, because the job's outcome is known and a drain would void it."""
        self._handler_has_ended = True

    def user_code(self) -> AbstractContextManager[None]:
        """Return a context in which code may be interrupted, once for each cause."""
        return self._user_code

    def _arm(self) -> None:
        self._seen = self._raised = None
        self._task = None
        self._handler_has_ended = False
        self._armed = True
        try:
            self._deliver()  # a request that arrived before we were ready
        except BaseException:
            self._armed = False
            raise

    def _disarm(self) -> None:
        self._armed = False
        self._task = self._raised = None

    def exception(self) -> Interrupted | None:
        """Return what interrupted the job, which a cancelled task cannot tell."""
        return None if self._seen is None else _EXCEPTIONS[self._seen](_MESSAGES[self._seen])

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGALRM."""
        self._deliver()

    def _on_swallowed(self, error: BaseException | None) -> None:
        if error is not None and error is self._raised:
            self._seen = self._raised = None

    def _deliver(self) -> None:
        cause = self._mark.order_for_running()
        if not self._armed or cause is None or cause is self._seen:
            return
        if cause is Cause.DRAINING and self._handler_has_ended:
            return
        self._seen = cause
        if self._task is None:
            self._raised = _EXCEPTIONS[cause](_MESSAGES[cause])
            raise self._raised
        # Threadsafe only to wake the loop: epoll continues to sleep after a signal (PEP 475).
        self._task.get_loop().call_soon_threadsafe(
            self._task.cancel, _EXCEPTIONS[cause](_MESSAGES[cause])
        )


class _UserCode(AbstractContextManager[None]):
    # A generator with `contextmanager` would take a microsecond more for each job.

    __slots__ = ("_interrupts",)

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self._interrupts._arm()

    def __exit__(self, *_: object) -> None:
        self._interrupts._disarm()
