"""How connections and channels end, and what pika's errors mean."""

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pika.exceptions

from longshore.errors import BrokerUnavailable

NOT_FOUND = 404
"""AMQP's reply code for a queue or an exchange that does not exist."""

TOO_LARGE = 406
"""AMQP's reply code for a message that exceeds RabbitMQ's limit, among other preconditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The reason why a channel has ended."""

    cause: str
    """The reason, in one line."""

    code: int | None = None
    """AMQP's reply code, if the broker closed the channel or its connection."""

    is_of_channel: bool = False
    """Whether the broker has closed this channel alone."""


class Lost(Exception):
    """A connection or channel has ended, does not answer, or could not be opened."""

    def __init__(self, cause: str, *, exceptions: Sequence[BaseException] = ()) -> None:
        super().__init__(cause)
        self.exceptions = tuple(exceptions)
        """The failure at each of several addresses."""


class LinkLost(BrokerUnavailable):
    """The connection ended. What was published last may have arrived or not."""


class Refused(Lost):
    """The broker rejects the user, the password or the vhost."""


class Unsendable(Exception):
    """A publication that AMQP cannot carry, or that makes the broker close the channel."""


class Abandoned(Exception):
    """The caller no longer waits, and nothing was sent."""


def end_of(error: BaseException) -> End:
    """Return what pika reports about an end."""
    of_channel = isinstance(error, pika.exceptions.ChannelClosedByBroker)
    by_broker = of_channel or isinstance(error, pika.exceptions.ConnectionClosedByBroker)
    return End(
        cause=words(error),
        code=error.reply_code if by_broker else None,  # type: ignore[attr-defined]  # pika is untyped
        is_of_channel=of_channel,
    )


def words(error: BaseException) -> str:
    """Describe an error of pika in one line."""
    if isinstance(error, pika.exceptions.ConnectionClosed | pika.exceptions.ChannelClosed):
        return f"{error.reply_code} {error.reply_text}"
    if isinstance(error, OSError) and error.strerror:
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def opening_failure(error: BaseException) -> Lost:
    """Return the reason why a connection could not be opened, from what pika reports."""
    found = _failure(list(causes(error)))
    found.__cause__ = error
    return found


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and its causes, each once. pika keeps causes in attributes."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner: list[Any] = [
            one.__cause__,
            getattr(one, "exception", None),
            *one.args,
            *getattr(one, "exceptions", ()),
        ]
        waiting += [each for each in inner if isinstance(each, BaseException)]


def _failure(found: Sequence[BaseException]) -> Lost:
    for cause in found:
        if _is_guess(cause):
            return _unguessed(cause)
        if isinstance(cause, pika.exceptions.AuthenticationError):
            return Refused(f"refused: {words(cause)}")
        if isinstance(cause, ssl.SSLError | OSError):
            return Lost(words(cause))
    return Lost(words(found[-1]))


def _is_guess(error: BaseException) -> bool:
    return isinstance(
        error,
        pika.exceptions.ProbableAuthenticationError
        | pika.exceptions.ProbableAccessDeniedError
        | pika.exceptions.IncompatibleProtocolError,
    )


def _unguessed(error: BaseException) -> Lost:
    """Return what really happened, since pika takes any end of a handshake for a refusal.

    pika keeps the true cause as text only. RabbitMQ gives a reason when it refuses; one that
    restarts just closes the connection.
    """
    said = re.search(r"ConnectionClosedByBroker: \((\d+)\) (.*)", str(error), re.DOTALL)
    if not said:
        hung_up = "indicated EOF" in str(error) or "ConnectionReset" in str(error)
        when = {
            pika.exceptions.IncompatibleProtocolError: "before it sent anything",
            pika.exceptions.ProbableAuthenticationError: "after the login",
        }.get(type(error), "while it opened the vhost")
        return Lost(f"the broker hung up {when}" if hung_up else f"no AMQP handshake: {error}")
    code, text = int(said[1]), said[2].strip("'\"")
    return Refused(f"refused: {code} {text}") if code in _REFUSALS else Lost(f"{code} {text}")


_REFUSALS = (403, 530)
"""ACCESS_REFUSED of a login, NOT_ALLOWED of a vhost."""
