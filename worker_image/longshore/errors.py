"""What Longshore raises, and what a handler raises to say how its job ends.

A handler that returns has succeeded; any exception is a failed attempt. `Retry`, `Snooze` and
`Discard` say something more exact. `Interrupted` comes the other way: the worker raises it in the
handler.
"""

import math
from typing import Any

from longshore.contract.durations import Span, seconds_in


class LongshoreError(Exception):
    """Everything that Longshore raises by itself, except interruptions."""


# How a handler ends its job


class Retry(LongshoreError):
    """Try the job once more, after `after` (seconds, a timedelta or like `90s`; None: as the policy
    says).

    It is a failed attempt as any other: out of attempts, the job goes to the dead letters.
    """

    def __init__(self, reason: str = "", *, after: Span | None = None) -> None:
        super().__init__(reason or "the handler asked for another attempt")
        self.after = None if after is None else seconds_of(after)


class Snooze(LongshoreError):
    """Run the job again after `delay` (seconds, a timedelta or like `10m`), without charge."""

    def __init__(self, delay: Span, reason: str = "") -> None:
        super().__init__(reason or "the handler put the job off")
        self.delay = seconds_of(delay)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are made again from `args`; a pool of processes sends them to its parent so.
        if type(self) is not Snooze:  # what a subclass is made of it alone knows
            return (*super().__reduce__(),)
        return type(self), (self.delay, *self.args), self.__dict__


class Discard(LongshoreError):
    """Never try the job again: it goes to the dead letters with reason `discarded`."""

    def __init__(self, reason: str = "the handler discarded the job") -> None:
        super().__init__(reason)


def seconds_of(duration: object) -> float:
    """A delay in seconds, of a number, a timedelta or text like `90s`.

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
    """The job is asked to end soon. Tidy up and let it pass, or return if the work is done.

    A BaseException, so that `except Exception` cannot swallow it by accident. In an `async def`
    handler the task is cancelled instead: `asyncio.CancelledError` is raised there.
    """


class SoftTimeLimit(Interrupted):
    """The soft time limit has passed; at the hard limit the job's processes are killed.

    Let through, it is a failed attempt.
    """


class Draining(Interrupted):
    """The worker ends and returns the job to the queue; no attempt is charged."""


class DeliveryLost(Interrupted):
    """The broker has given the job to somebody else; this run's outcome counts for nothing."""


# What is wrong with handlers


class HandlerError(LongshoreError):
    """A handler that cannot be served as it is written."""


class DuplicateHandler(HandlerError):
    """Two handlers answer to one name."""


class MiddlewareError(LongshoreError):
    """A middleware that cannot be loaded, or that failed; the message says which."""


# Why a job was not enqueued


class EnqueueError(LongshoreError):
    """A job was not enqueued, or it is not known whether it was (`ConfirmTimeout`)."""


class InvalidJob(EnqueueError, ValueError):
    """The job cannot be enqueued as it is; trying again won't help."""


class InvalidAddress(EnqueueError, ValueError):
    """RabbitMQ's address is missing or cannot be read."""


class QueueNotFound(EnqueueError):
    """No queue takes the job: no such TaskQueue, or the operator has not made its queue yet."""


class QueueFull(EnqueueError):
    """RabbitMQ refused the job and stored nothing; try again later."""


class NotPermitted(EnqueueError):
    """These credentials may not publish to this queue."""


class BrokerUnavailable(EnqueueError):
    """RabbitMQ cannot be reached, closed the connection, or takes no messages for now."""


class ConfirmTimeout(EnqueueError):
    """RabbitMQ did not confirm in time: the job may or may not be stored."""
