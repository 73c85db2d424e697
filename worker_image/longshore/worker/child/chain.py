"""The middleware around a job: entered from the first to the last, exited in reverse order."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from types import TracebackType

from longshore.errors import Discard, MiddlewareError, Retry, Snooze
from longshore.handler import Job
from longshore.middleware import Named
from longshore.worker.child.failures import said

CLOSE_GRACE = 0.8
"""Seconds for all middleware to close; the parent gives an idle child 1 s to end."""


class Chain:
    """Middleware in order, the first one outermost."""

    def __init__(self, middleware: Sequence[Named]) -> None:
        self._middleware = middleware

    def run(self, job: Job, work: Callable[[], None]) -> None:
        """Call `work` inside all middleware.

        Raises what passes through it, and MiddlewareError if one of them fails.
        """
        # In its own context: an interruption may prevent a middleware from resetting what it has
        # set, and the next job must not see it.
        copy_context().run(self._enter, 0, job, work)

    def close(self) -> None:
        """Close all middleware, because no job follows; one that hangs is left behind."""
        closes = [close for each in self._middleware if (close := each.close)]
        # A child that never ends would not be replaced, and signals are not reliable here.
        threads = [threading.Thread(target=close, daemon=True) for close in closes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(CLOSE_GRACE / len(threads))

    def _enter(self, position: int, job: Job, work: Callable[[], None]) -> None:
        if position == len(self._middleware):
            work()
            return
        with _Layer(self._middleware[position], job):
            self._enter(position + 1, job, work)


class _Layer:
    """One middleware around one job; distinguishes its own exceptions from those that pass."""

    def __init__(self, middleware: Named, job: Job) -> None:
        self._middleware = middleware
        self._job = job
        self._context: AbstractContextManager[object]

    def __enter__(self) -> None:
        try:
            self._context = self._middleware.function(self._job)
            _check(self._context)
            self._context.__enter__()
        except (Retry, Snooze, Discard):
            raise
        except Exception as error:
            raise self._blamed(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return self._context.__exit__(kind, error, traceback)
        except (Retry, Snooze, Discard):
            raise
        except Exception as its_own:
            if its_own is error:
                raise
            raise self._blamed(its_own) from its_own

    def _blamed(self, error: Exception) -> MiddlewareError:
        return MiddlewareError(f"middleware {self._middleware.name!r} failed: {said(error)}")


def _check(context: object) -> None:
    if not isinstance(context, AbstractContextManager):
        raise TypeError(f"it returned {context!r}, which is not a context manager")
