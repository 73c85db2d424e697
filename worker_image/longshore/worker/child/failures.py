"""What a run's exception means for its job.

Its type decides. An exception is an object of the user's: whatever it does when it is asked for its
text, its delay or its class must change the words of the outcome at most.
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
    """What a handler says of its own failures."""

    @property
    def throws(self) -> tuple[type[Exception], ...]:
        """Failures that are expected, and final."""

    @property
    def retry_when(self) -> Callable[[Exception], bool] | None:
        """Whether a job that failed with this exception is tried again."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended; `delay` in seconds."""

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
    """What a run has raised, and what the handler's options say of it."""

    error: BaseException
    is_expected: bool = False
    """It is one of `throws`."""

    is_final: bool = False
    """`retry_when` said no."""

    complaint: Exception | None = None
    """What is wrong with `retry_when` itself."""


def leaf(error: BaseException) -> BaseException:
    """The exception that a group holds if it holds only one, else `error` itself.

    `asyncio.TaskGroup` puts whatever one of its tasks has raised into a group.
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
    """What the handler's options make of its exception; runs user code, `retry_when`."""
    kind = type(error)
    # They are about the handler's own failures, so not about middleware's.
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
    # A forgotten `return` must not end jobs for good.
    if not isinstance(answer, bool):
        raise TypeError(f"it returned {answer!r}, not True or False")
    return answer


def ending_of(failure: Failure) -> Ending:
    """What the child reports of `failure`."""
    error, complaint = leaf(failure.error), failure.complaint
    # Not `isinstance` and not `match`: both ask an object for its `__class__`.
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
    """`ending` with the delay that is wished for; a failure where a subclass made it no delay."""
    try:
        wish = getattr(error, attribute)
        if wish is None and attribute == "after":
            return ending  # as the policy says
        return replace(ending, delay=seconds_of(wish))
    except BaseException as complaint:  # it is of whatever type, and so is what it raises
        text = f"{said(error)[: MAX_ERROR // 2]}; its delay cannot be used: {_text(complaint)}"
        return Ending(Status.FAILED, text[:MAX_ERROR], _trace(error))


def said(error: BaseException) -> str:
    """The exception in words, its type first; at most `MAX_ERROR` characters."""
    name, text = type.__dict__["__name__"].__get__(type(error)), _text(error)
    return f"{name}: {text}"[:MAX_ERROR] if text else str(name)


def _text(error: BaseException) -> str:
    try:
        # Of a subclass of `str`, the plain text.
        return str.__str__(str(error))
    except BaseException:
        return "<exception str() failed>"


def _trace(error: BaseException) -> str | None:
    if issubclass(type(error), CommandFailed):
        return None  # our own stack says nothing; the parent has what the command wrote
    try:
        lines = traceback.format_exception(error)
    except BaseException:  # its notes or its cause cannot be had
        places = traceback.format_tb(BaseException.__dict__["__traceback__"].__get__(error))
        lines = ["Traceback (most recent call last):\n", *places, said(error)]
    return "".join(lines)[-MAX_TRACEBACK:]
