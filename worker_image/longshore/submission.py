"""From what a producer says to the message that is published. Every mistake is named before."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from pika import BasicProperties
from pika.exceptions import AMQPError

from longshore.binding import Binding, InvalidArguments
from longshore.contract import delays, durations, names
from longshore.contract.message import MAX_PRIORITY, TRACEPARENT, Message, job_id
from longshore.errors import HandlerError, InvalidJob
from longshore.handler import HandlerSpec, spec_of
from longshore.link import Publication

Handler = str | Callable[..., Any]
"""A handler's name, or the function that `@handler` decorates."""

Span = float | str | timedelta
"""A length of time: seconds, a timedelta, or a string such as `"10m"`."""

OPTIONS = frozenset({"delay", "priority", "expires_in", "headers"})
"""Names that `Client.enqueue` takes for itself."""

_MAX_SHORT_STRING = 255
_MAX_HEADERS = 32 * 1024
"""Bytes once encoded. All headers share one frame, 128 KiB by default, with Longshore's own: those
of a dead letter tell an error and a traceback too."""

_RESERVED_HEADERS = ("longshore-", "x-")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def publication(
    queue: str,
    handler: Handler,
    arguments: Mapping[str, Any],
    *,
    delay: Span,
    priority: int,
    expires_in: Span | None,
    headers: Mapping[str, Any],
    now: int,
    entropy: bytes,
) -> Publication:
    """The message for one job. `now` in ms since the epoch. Raises InvalidJob."""
    _check_queue(queue)
    name = handler if isinstance(handler, str) else _spec(handler).name
    body = _encode(arguments)
    _check_arguments(handler, body)
    wait = seconds("delay", delay)
    exchange, routing_key = _route(queue, delay=wait)
    traceparent, others = _trace(_headers(headers))
    message = Message(
        id=job_id(now=now, entropy=entropy),
        handler=_short(name),
        body=body,
        enqueued_at=now,
        priority=_priority(priority),
        expires_at=_expiry(expires_in, delay=wait, now=now),
        traceparent=traceparent,
        headers=others,
    )
    return Publication(
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        body=message.body,
        properties=message.properties(),
    )


def refuse_ambiguous(handler: Handler) -> None:
    """Raise InvalidJob if `handler` has a parameter that `enqueue` would take for an option."""
    if isinstance(handler, str):
        return
    spec = _spec(handler)
    clashing = OPTIONS.intersection(inspect.signature(spec.function).parameters)
    if clashing:
        name = min(clashing)
        raise InvalidJob(
            f"handler {spec.name!r} has a parameter {name!r}, which is an option of "
            f"enqueue(); use send(queue, handler, {{{name!r}: …}}) instead"
        )


def seconds(what: str, span: Span) -> float:
    """`span` in seconds, not negative. Raises InvalidJob, which names `what`."""
    try:
        value = _seconds(span)
    except (ValueError, TypeError) as error:
        raise InvalidJob(f"{what}: {error}") from None
    # The comparison is also false for NaN.
    if not 0 <= value <= delays.MAX_DELAY:
        raise InvalidJob(f"{what} is {span!r}; it must be 0 to {delays.MAX_DELAY} seconds")
    return value


def _seconds(span: Span) -> float:
    if isinstance(span, timedelta):
        return span.total_seconds()
    if isinstance(span, str):
        return durations.parse_duration(span)
    if isinstance(span, bool) or not isinstance(span, int | float):
        raise TypeError(f"{span!r} is no length of time; give seconds, a timedelta or like '10m'")
    return span


def _check_queue(queue: str) -> None:
    namespace, _, name = queue.partition(".")
    try:
        names.queue_name(namespace=namespace, name=name)
    except ValueError as error:
        raise InvalidJob(f"queue {queue!r} is not NAMESPACE.NAME of a TaskQueue: {error}") from None


def _spec(function: Callable[..., Any]) -> HandlerSpec:
    spec = spec_of(function)
    if spec is None:
        raise InvalidJob(f"{function!r} is no handler; decorate it with @handler, or give a name")
    return spec


def _short(name: str) -> str:
    if not 0 < len(name.encode()) <= _MAX_SHORT_STRING:
        raise InvalidJob(f"handler {name!r} must have 1 to {_MAX_SHORT_STRING} bytes")
    return name


def _check_arguments(handler: Handler, body: bytes) -> None:
    """The very check that the worker will make, while the producer can still hear of it."""
    if isinstance(handler, str):
        return
    spec = _spec(handler)
    try:
        _binding(spec).arguments(body)
    except (InvalidArguments, HandlerError) as error:
        raise InvalidJob(f"handler {spec.name!r}: {error}") from None


@lru_cache(maxsize=256)
def _binding(spec: HandlerSpec) -> Binding:
    return Binding(spec)


def _route(queue: str, *, delay: float) -> tuple[str, str]:
    try:
        return delays.route(queue, delay=delay)
    except ValueError as error:
        raise InvalidJob(str(error)) from None


def _priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidJob(f"priority is {priority!r}; it must be a whole number")
    if not 0 <= priority <= MAX_PRIORITY:
        raise InvalidJob(f"priority is {priority}; it must be 0 to {MAX_PRIORITY}")
    return priority


def _expiry(expires_in: Span | None, *, delay: float, now: int) -> int | None:
    if expires_in is None:
        return None
    life = seconds("expires_in", expires_in)
    if life <= delay:
        raise InvalidJob(
            f"expires_in ({life:g} s) must be longer than delay ({delay:g} s): the job would never "
            "start"
        )
    return now + int(life * 1000)


def _headers(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in headers.items():
        if not isinstance(name, str) or name.lower().startswith(_RESERVED_HEADERS):
            raise InvalidJob(f"header {name!r} is not free: longshore-… and x-… have a meaning")
        try:
            BasicProperties(headers={name: value}).encode()
        except (AMQPError, ValueError, TypeError, OverflowError) as error:
            raise InvalidJob(
                f"header {name!r} has a value that AMQP cannot carry: {error}"
            ) from None
    size = sum(len(piece) for piece in BasicProperties(headers=dict(headers)).encode())
    if size > _MAX_HEADERS:
        raise InvalidJob(f"headers have {size} bytes encoded; {_MAX_HEADERS} are the most")
    return headers


def _trace(headers: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The trace context among `headers`, and the others."""
    if TRACEPARENT not in headers:
        return None, headers
    traceparent = headers[TRACEPARENT]
    if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
        raise InvalidJob(
            f"header 'traceparent' is {traceparent!r}; W3C trace context wants "
            "VERSION-TRACE-SPAN-FLAGS, like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        )
    return traceparent, {name: headers[name] for name in headers if name != TRACEPARENT}


def _encode(arguments: Mapping[str, Any]) -> bytes:
    # One by one, so that an error can say which.
    return b"{" + b",".join(_encode_one(*item) for item in arguments.items()) + b"}"


def _encode_one(name: str, value: Any) -> bytes:
    if not isinstance(name, str):
        raise InvalidJob(f"argument {name!r} must be named by a string")
    try:
        key = json.dumps(name, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return f"{key}:{text}".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidJob(f"argument {name!r} cannot be written as JSON: {error}") from None
