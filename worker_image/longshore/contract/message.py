"""A job on the wire. Any AMQP client in any language can produce one.

Publish to the exchange `longshore.jobs` with the queue's name as the routing key, the handler's
name as `type`, `application/json` as `content_type`, and a JSON object of keyword arguments as the
body.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from longshore.contract.names import DELAY_PREFIX
from longshore.contract.properties import media
from longshore.contract.properties.reserved import DIRECT_REPLY_TO, is_brokers

CONTENT_TYPE = media.JSON
PERSISTENT = 2
MAX_PRIORITY = 31
"""Highest priority; RabbitMQ 4.3 orders 0 to 31 strictly on quorum queues."""

MAX_TIME = 253_402_300_799_999
"""ms since the epoch: the end of the year 9999, after which Python has no dates."""

ATTEMPT = "longshore-attempt"
ENQUEUED_AT = "longshore-enqueued-at"
EXPIRES_AT = "longshore-expires-at"
DEFERRED_SINCE = "longshore-deferred-since"
"""ms since the epoch at which a worker first deferred the job to another version of the workers."""

TRACEPARENT = "traceparent"

DEAD_REASON = "longshore-dead-reason"
ERROR = "longshore-error"
TRACEBACK = "longshore-traceback"
DIED_AT = "longshore-died-at"
HOST = "longshore-host"
QUEUE = "longshore-queue"

UNDECODABLE_HEADERS = "longshore-undecodable-headers"
"""Header of a dead letter that holds, as bytes, headers that could not be read (the header table
itself) or could not be sent on (as Python shows them)."""

USER_ID = "longshore-user-id"
EXPIRATION = "longshore-expiration"
REPLY_TO = "longshore-reply-to"
"""Headers that keep what a producer wrote into properties on which RabbitMQ acts."""

DELIVERY_COUNT = "x-delivery-count"
"""RabbitMQ's count of failed deliveries: connection lost, channel closed, or reject."""

LAST_DEATH_QUEUE = "x-last-death-queue"
"""RabbitMQ's header with the queue from which a message was last dead-lettered."""

MAX_ERROR = 1024
MAX_TRACEBACK = 16_384
"""Bytes kept in headers: all headers must fit one frame, 128 KiB by default."""

MAX_CARRIED = 32_768
"""Most bytes of a job's headers, as Python shows them, that its dead letter keeps. When encoded,
they are at most three times as long, which leaves room for the dead letter's own headers."""


MAX_UNDECODABLE = 3 * MAX_CARRIED
"""Most bytes kept of headers that could not be read: as many as the others take at most."""


class DeadReason(StrEnum):
    """Why a job became a dead letter."""

    MAX_ATTEMPTS = "max-attempts"
    MAX_AGE = "max-age"
    DISCARDED = "discarded"
    NOT_RETRYABLE = "not-retryable"
    """The handler's `retry_when` returned False, or its `throws` contains the exception."""

    HARD_LIMIT = "hard-limit"
    MEMORY_LIMIT = "memory-limit"
    WORKER_LOST = "worker-lost"
    UNDECODABLE = "undecodable"
    UNKNOWN_HANDLER = "unknown-handler"
    INVALID_ARGUMENTS = "invalid-arguments"
    EXPIRED = "expired"


class Undecodable(ValueError):
    """A delivery that is not a job; the message names the wrong part and what it should be."""


class Properties(Protocol):
    """The AMQP properties of a delivery that a job is read from."""

    type: str | None
    content_type: str | None
    content_encoding: str | None
    message_id: str | None
    priority: int | None
    timestamp: int | None
    correlation_id: str | None
    reply_to: str | None
    app_id: str | None
    cluster_id: str | None
    user_id: str | None
    expiration: str | None
    headers: Mapping[str, Any] | None


# Not frozen, although it is never changed: creating a frozen one for each job takes three times as
# long.
@dataclass(slots=True, kw_only=True)
class Message:
    """One job as it travels. Times are milliseconds since the epoch."""

    id: str
    handler: str
    body: bytes
    """JSON object of keyword arguments. The parent passes it on unread; the child decodes it."""

    enqueued_at: int
    attempt: int = 1
    priority: int | None = 0
    """None if its producer set none; RabbitMQ 4.3 treats that as 4."""

    expires_at: int | None = None
    deferred_since: int | None = None
    """When a worker first deferred it to another version of the workers; None if none has."""

    traceparent: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    """The producer's headers that Longshore does not use; they stay with the job until its end."""

    others: Mapping[str, Any] | None = None
    """The producer's AMQP properties that Longshore does not use, by pika's names; they stay with
    the job until its end."""

    was_delayed: bool = False
    """It has come through the delay ladder. Read from a delivery, never sent."""

    lost: int = 0
    """Deliveries since it was last published that ended without an ack, together with their
    connection, channel or worker. Read from a delivery, never sent."""

    def next_attempt(self) -> "Message":
        """Return the same job with the next attempt's number."""
        return replace(self, attempt=self.attempt + 1)

    def properties(self) -> dict[str, Any]:
        """Return keyword arguments for an AMQP client's properties object."""
        headers = {**self.headers, ATTEMPT: self.attempt, ENQUEUED_AT: self.enqueued_at}
        if self.expires_at is not None:
            headers[EXPIRES_AT] = self.expires_at
        if self.deferred_since is not None:
            headers[DEFERRED_SINCE] = self.deferred_since
        if self.traceparent is not None:
            headers[TRACEPARENT] = self.traceparent
        return {
            "content_type": CONTENT_TYPE,
            "timestamp": self.enqueued_at // 1000,
            **(self.others or {}),
            "type": self.handler,
            "message_id": self.id,
            "delivery_mode": PERSISTENT,
            "priority": self.priority,
            "headers": headers,
        }


def decode(
    properties: Properties,
    body: bytes,
    *,
    new_id: Callable[[], str],
    now: Callable[[], int],
    is_counted: bool = True,
) -> Message:
    """Return the job in a delivery; `new_id` and `now` replace what a foreign producer omitted.

    `is_counted` means that RabbitMQ itself counts failed deliveries. If it does not, a count was
    sent by the producer, perhaps with all headers of a message that it had received itself, and
    says nothing about this job.

    Raises Undecodable. The body is not decoded here.
    """
    if not properties.type:
        raise Undecodable("property 'type' is missing; it names the handler")
    # AMQP clients return a string that is not UTF-8 as bytes.
    if isinstance(properties.type, bytes):
        raise Undecodable(f"property 'type' is {properties.type!r}; it must be UTF-8")
    if isinstance(properties.message_id, bytes):
        raise Undecodable(f"property 'message_id' is {properties.message_id!r}; it must be UTF-8")
    # Most have this spelling; the comparison by the rules takes a microsecond more.
    if properties.content_type != CONTENT_TYPE and (
        why_not := media.why_not_json(properties.content_type)
    ):
        raise Undecodable(f"property 'content_type' is {properties.content_type!r}; {why_not}")
    headers = properties.headers or {}
    others = _others(properties)
    attempt = _integer(headers, ATTEMPT, least=1, most=_MAX_ATTEMPT)
    lost = _integer(headers, DELIVERY_COUNT, least=0) if is_counted else None
    enqueued_at = _integer(headers, ENQUEUED_AT, least=0, most=MAX_TIME)
    traceparent = headers.get(TRACEPARENT)
    if enqueued_at is not None and others.get("timestamp") == enqueued_at // 1000:
        del others["timestamp"]  # `properties` sets it anyway
    return Message(
        id=properties.message_id or new_id(),
        handler=properties.type,
        body=body,
        enqueued_at=now() if enqueued_at is None else enqueued_at,
        attempt=1 if attempt is None else attempt,
        priority=properties.priority,
        expires_at=_integer(headers, EXPIRES_AT, least=0),
        deferred_since=_integer(headers, DEFERRED_SINCE, least=0, most=MAX_TIME),
        traceparent=traceparent if isinstance(traceparent, str) else None,
        headers=apart(vars(properties))
        | {name: value for name, value in headers.items() if _is_foreign(name)},
        others=others or None,
        was_delayed=str(headers.get(LAST_DEATH_QUEUE)).startswith(DELAY_PREFIX),
        lost=lost or 0,
    )


def apart(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers for those of a producer's properties that are never sent on (`reserved`)."""
    kept = {USER_ID: properties.get("user_id"), EXPIRATION: properties.get("expiration")}
    if properties.get("reply_to") == DIRECT_REPLY_TO:
        kept[REPLY_TO] = DIRECT_REPLY_TO
    return {name: value for name, value in kept.items() if value is not None}


def dead_headers(
    *,
    reason: DeadReason,
    error: str,
    traceback: str | None,
    died_at: int,
    host: str,
    queue: str,
) -> dict[str, Any]:
    """Return the headers that a dead letter has in addition to its job's; `died_at` is in ms."""
    headers = {
        DEAD_REASON: str(reason),
        ERROR: _encodable(error)[:MAX_ERROR].decode(errors="ignore"),
        DIED_AT: died_at,
        HOST: host,
        QUEUE: queue,
    }
    if traceback:
        # The end of a traceback names the error, so the beginning is cut off.
        headers[TRACEBACK] = _encodable(traceback)[-MAX_TRACEBACK:].decode(errors="ignore")
    return headers


def _encodable(text: str) -> bytes:
    # A file name that is not UTF-8 appears in errors as lone surrogates, which AMQP cannot carry.
    return text.encode("utf-8", "backslashreplace")


def carried(headers: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return those of a job's headers that its dead letter keeps: all, or the smallest that fit.

    Headers that could not be read are kept in addition, because there is no other record of them.
    """
    unread = headers.get(UNDECODABLE_HEADERS)
    kept: dict[Any, Any] = {UNDECODABLE_HEADERS: unread} if isinstance(unread, bytes) else {}
    left = MAX_CARRIED
    for name, value in sorted(headers.items(), key=lambda header: len(repr(header))):
        if name in kept:
            continue
        left -= len(repr((name, value)).encode())
        if left < 0:
            break
        kept[name] = value
    return kept


def job_id(*, now: int, entropy: bytes) -> str:
    """Return a UUIDv7 (RFC 9562) of `now` in ms and ten random bytes, so that ids sort by time."""
    if len(entropy) != 10:
        raise ValueError(f"entropy has {len(entropy)} bytes; a UUIDv7 needs 10")
    value = now << 80 | int.from_bytes(entropy)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _integer(
    headers: Mapping[str, Any], name: str, *, least: int, most: int = 2**63 - 1
) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Undecodable(
            f"header {name!r} is {value!r}; it must be an integer from {least} to {most}"
        )
    return int(value)  # AMQP clients have integers of their own


_MAX_ATTEMPT = 2**31 - 1

_OWN = frozenset({ATTEMPT, ENQUEUED_AT, EXPIRES_AT, DEFERRED_SINCE, TRACEPARENT})


_OTHERS = (
    *("content_type", "content_encoding", "correlation_id", "reply_to"),
    *("timestamp", "app_id", "cluster_id"),
)


def _others(properties: Properties) -> dict[str, Any]:
    given = {name: getattr(properties, name) for name in _OTHERS}
    meaningless = (None, CONTENT_TYPE, DIRECT_REPLY_TO)
    return {name: value for name, value in given.items() if value not in meaningless}


def _is_foreign(name: str | bytes) -> bool:
    # AMQP clients return a name that is not UTF-8 as bytes; no handler could read it.
    return isinstance(name, str) and name not in _OWN and not is_brokers(name)
