"""The exceptions that Longshore raises, and those that a handler raises to decide how its job ends.

A handler that returns has succeeded; any exception is a failed attempt. `Retry`, `Snooze` and
`Discard` express something more specific. `Interrupted` goes the opposite way: the worker raises it
inside the handler.
"""

import math
from typing import Any

from longshore.contract.durations import Span, seconds_in


class LongshoreError(Exception):
    """Base class of everything that Longshore raises, except interruptions."""


# How a handler ends its job


class Retry(LongshoreError):
    """Retry the job after `after`: seconds, a timedelta or a string such as `"90s"`.

    None means the delay of the queue's retry policy. This counts as a failed attempt like any
    other: if no attempt is left, the job becomes a dead letter.
    """

    def __init__(self, reason: str = "", *, after: Span | None = None) -> None:
        super().__init__(reason or "the handler requested another attempt")
        self.after = None if after is None else seconds_of(after)


class Snooze(LongshoreError):
    """Run the job again after `delay`: seconds, a timedelta or a string such as `"10m"`.

    No attempt is charged.
    """

    def __init__(self, delay: Span, reason: str = "") -> None:
        super().__init__(reason or "the handler snoozed the job")
        self.delay = seconds_of(delay)

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling calls the class with `args`, as when a pool of processes sends an exception to
        # its parent.
        if type(self) is not Snooze:  # only a subclass knows its own arguments
            return (*super().__reduce__(),)
        return type(self), (self.delay, *self.args), self.__dict__


class Discard(LongshoreError):
    """Do not retry the job: it becomes a dead letter with the reason `discarded`."""

    def __init__(self, reason: str = "the handler discarded the job") -> None:
        super().__init__(reason)


def seconds_of(duration: object) -> float:
    """Return a delay in seconds, given as a number, a timedelta or a string such as `"90s"`.

    Raises ValueError or TypeError.
    """
    seconds = seconds_in(duration)
    if not seconds >= 0:
        raise ValueError(f"a delay of {duration!r} is in the past; it must be 0 or more")
    if seconds == math.inf:
        raise ValueError(f"a delay of {duration!r} never ends; discard the job instead")
    return seconds


# What the worker raises inside a handler


class Interrupted(BaseException):
    """The job should end soon. Clean up and let the exception pass, or return if the work is done.

    It is a BaseException, so that `except Exception` does not swallow it by accident. An `async
    def` handler is cancelled instead: `asyncio.CancelledError` is raised in it.
    """


class SoftTimeLimit(Interrupted):
    """The soft time limit has passed; at the hard limit the job's processes are killed.

    If the handler lets it pass, the attempt has failed.
    """


class Draining(Interrupted):
    """The worker shuts down and returns the job to the queue; no attempt is charged."""


class DeliveryLost(Interrupted):
    """RabbitMQ has given the job to another worker; the outcome of this run is ignored."""


# What is wrong with handlers


class HandlerError(LongshoreError):
    """A handler cannot run as it is written."""


class DuplicateHandler(HandlerError):
    """Two handlers have the same name."""


class MiddlewareError(LongshoreError):
    """A middleware cannot be loaded, or it failed; the message names it."""


# Why a job was not enqueued


class EnqueueError(LongshoreError):
    """A job was not enqueued or, with `ConfirmTimeout`, it is unknown whether it was."""


class InvalidJob(EnqueueError, ValueError):
    """The job cannot be enqueued as it is; another try will not help."""


class InvalidAddress(EnqueueError, ValueError):
    """The address of RabbitMQ is missing or cannot be read."""


class QueueNotFound(EnqueueError):
    """There is no queue for the job: the TaskQueue does not exist, or the operator has not declared
    its queue yet."""


class QueueFull(EnqueueError):
    """RabbitMQ refused the job and stored nothing; try again later."""


class NotPermitted(EnqueueError):
    """These credentials may not publish to this queue."""


class BrokerUnavailable(EnqueueError):
    """RabbitMQ cannot be reached, closed the connection, or accepts no messages at the moment."""


class ConfirmTimeout(EnqueueError):
    """RabbitMQ did not confirm the job in time: it may or may not be stored."""
