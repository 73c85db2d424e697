"""Determines what a run's exception means for its job.

The exception's type decides. It is a user's object: whatever it does when its text, its delay or
its class is read may change at most the wording of the outcome.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from longshore.contract.message import MAX_ERROR, MAX_TRACEBACK
from longshore.errors import (
    Discard,
    Interrupted,
    MiddlewareError,
    Retry,
    Snooze,
    SoftTimeLimit,
    seconds_of,
)
from longshore.worker.child.command import CommandFailed
from longshore.worker.wire.frames import Status


class Options(Protocol):
    """The options of a handler for its own failures."""

    @property
    def throws(self) -> tuple[type[Exception], ...]:
        """Exceptions that are expected and final."""

    @property
    def retry_when(self) -> Callable[[Exception], bool] | None:
        """Returns whether a job that failed with this exception is retried."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended; `delay` is in seconds."""

    status: Status
    error: str | None = None
    traceback: str | None = None
    delay: float | None = None
    result: str | None = None
    """What the handler returned, as JSON."""

    result_omitted: str | None = None
    """Why what it returned is not told."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception that a run has raised, and what the handler's options say about it."""

    error: BaseException
    is_expected: bool = False
    """It is one of `throws`."""

    is_final: bool = False
    """`retry_when` returned False."""

    complaint: Exception | None = None
    """The exception of `retry_when` itself, if it failed."""


def leaf(error: BaseException) -> BaseException:
    """Return the only exception of a group; otherwise `error` itself.

    `asyncio.TaskGroup` wraps whatever one of its tasks has raised in a group.
    """
    found = error
    while issubclass(type(found), BaseExceptionGroup):
        held: tuple[BaseException, ...] = _EXCEPTIONS_OF(found)
        if len(held) != 1:
            return error
        found = held[0]
    return found


# A subclass may have another attribute of that name.
_EXCEPTIONS_OF: Any = BaseExceptionGroup.__dict__["exceptions"].__get__


def judged(error: BaseException, options: Options) -> Failure:
    """Return what the handler's options say about its exception. This runs user code,
    `retry_when`."""
    kind = type(error)
    # The options apply to the handler's own failures, not to those of middleware.
    if issubclass(kind, (Retry, Snooze, Discard, MiddlewareError)):
        return Failure(error)
    try:
        if issubclass(kind, options.throws):
            return Failure(error, is_expected=True)
        return Failure(error, is_final=not _is_retryable(error, options))
    except Exception as its_own:
        return Failure(error, complaint=its_own)


def _is_retryable(error: Any, options: Options) -> bool:
    answer = options.retry_when is None or options.retry_when(error)
    # A forgotten `return` must not make jobs dead letters.
    if not isinstance(answer, bool):
        raise TypeError(f"it returned {answer!r}, not True or False")
    return answer


def ending_of(failure: Failure) -> Ending:
    """Return what the child reports about `failure`."""
    error, complaint = leaf(failure.error), failure.complaint
    # Neither `isinstance` nor `match`, which both read an object's `__class__`.
    kind = type(error)
    if issubclass(kind, Snooze):
        return _put_off(Ending(Status.SNOOZED, said(error)), error, "delay")
    if issubclass(kind, Discard):
        return Ending(Status.DISCARDED, said(error), _trace(failure.error))
    if issubclass(kind, Retry):
        failed = Ending(Status.FAILED, said(error), _trace(failure.error))
        return _put_off(failed, error, "after")
    if issubclass(kind, Interrupted) and not issubclass(kind, SoftTimeLimit):
        return Ending(Status.INTERRUPTED, said(error))
    if failure.is_expected:
        return Ending(Status.EXPECTED, said(error))
    if failure.is_final:
        return Ending(Status.NOT_RETRYABLE, said(error), _trace(failure.error))
    if complaint:
        text = f"{said(error)[: MAX_ERROR // 2]}; retry_when failed: {said(complaint)}"
        return Ending(Status.FAILED, text[:MAX_ERROR], _trace(complaint))
    return Ending(Status.FAILED, said(error), _trace(failure.error))


def _put_off(ending: Ending, error: BaseException, attribute: str) -> Ending:
    """Return `ending` with the delay of the exception, or a failure if it has no valid delay."""
    try:
        wish = getattr(error, attribute)
        if wish is None and attribute == "after":
            return ending  # as the policy says
        return replace(ending, delay=seconds_of(wish))
    except BaseException as complaint:  # a user's object may raise anything
        text = f"{said(error)[: MAX_ERROR // 2]}; its delay cannot be used: {_text(complaint)}"
        return Ending(Status.FAILED, text[:MAX_ERROR], _trace(error))


def said(error: BaseException) -> str:
    """Return the exception's type and text, at most `MAX_ERROR` characters."""
    name, text = type.__dict__["__name__"].__get__(type(error)), _text(error)
    return f"{name}: {text}"[:MAX_ERROR] if text else str(name)


def _text(error: BaseException) -> str:
    try:
        # The plain text, even if it is a subclass of `str`.
        return str.__str__(str(error))
    except BaseException:
        return "<exception str() failed>"


def _trace(error: BaseException) -> str | None:
    if issubclass(type(error), CommandFailed):
        return None  # our own stack is of no interest; the parent has the command's output
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # its notes or its cause cannot be read
        places = traceback.format_tb(BaseException.__dict__["__traceback__"].__get__(error))
        lines = ["Traceback (most recent call last):\n", *places, said(error)]
    return "".join(lines)[-MAX_TRACEBACK:]
