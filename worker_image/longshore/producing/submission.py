"""Checks what a producer passes, and turns it into the message to publish."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from longshore.amqp.publication import Properties, Publication
from longshore.binding import BoundHandler, InvalidArguments
from longshore.contract import delays, durations, names
from longshore.contract.message import MAX_PRIORITY, TRACEPARENT, Message, job_id
from longshore.contract.properties.reserved import MAX_HEADER_DEPTH, is_brokers, is_too_nested
from longshore.errors import HandlerError, InvalidJob
from longshore.handler import HandlerSpec, spec_of

Handler = str | Callable[..., Any]
"""A handler's name, or the function that `@handler` decorates."""

OPTIONS = frozenset({"delay", "priority", "expires_in", "headers"})
"""Names of the options of `Client.enqueue`."""

_MAX_SHORT_STRING = 255
_MAX_HEADERS = 32 * 1024
"""Bytes when encoded. A job's headers share one frame, 128 KiB by default, with Longshore's own,
which in a dead letter include an error and a traceback."""

_RESERVED_HEADERS = ("longshore-", "x-")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission(Publication):
    """The message for one job, and the queue for which it is meant."""

    queue: str

    def __str__(self) -> str:
        return f"job {self.properties.get('message_id')} for queue {self.queue!r}"


def prepare(
    queue: str,
    handler: Handler,
    arguments: Mapping[str, Any],
    *,
    delay: durations.Span,
    priority: int,
    expires_in: durations.Span | None,
    headers: Mapping[str, Any],
    now: int,
    entropy: bytes,
) -> Submission:
    """Return the message for one job; `now` is ms since the epoch. Raises only InvalidJob.

    All arguments may be of any type, and user code that runs here, such as a `__repr__` or a
    validator, may raise anything.
    """
    with _every_failure_as_invalid_job():
        queue = _queue(queue)
        name = names.plain(handler) if isinstance(handler, str) else _spec(handler).name
        body = _encode(arguments)
        _check_arguments(handler, body)
        wait = seconds("delay", delay)
        exchange, key = _route(queue, delay=wait)
        traceparent, others = _trace(_headers(headers))
        message = Message(
            id=job_id(now=now, entropy=entropy),
            handler=_short(name),
            body=body,
            enqueued_at=now,
            priority=_priority(priority),
            expires_at=_expiry(expires_in, delay=delays.whole_seconds(wait), now=now),
            traceparent=traceparent,
            headers=others,
        )
        return Submission(
            queue=queue,
            exchange=exchange,
            key=key,
            body=message.body,
            properties=message.properties(),
        )


@contextmanager
def _every_failure_as_invalid_job() -> Iterator[None]:
    try:
        yield
    except InvalidJob:
        raise
    except Exception as error:
        raise InvalidJob(f"the job cannot be read: {_in_words(error)}") from error


def refuse_ambiguous(handler: Handler) -> None:
    """Raise InvalidJob if `handler` has a parameter that `enqueue` would take for an option."""
    if isinstance(handler, str):
        return
    try:
        spec = _spec(handler)
        clashing = OPTIONS.intersection(inspect.signature(spec.function).parameters)
    except InvalidJob:
        raise
    except Exception as error:
        raise InvalidJob(f"handler {shown(handler)} cannot be read: {_in_words(error)}") from error
    if clashing:
        name = min(clashing)
        raise InvalidJob(
            f"handler {spec.name!r} has a parameter {name!r}, which is also an option of "
            f"enqueue(); use send(queue, handler, {{{name!r}: …}}) instead"
        )


def sendable(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `headers` that a job can carry."""
    kept: dict[str, Any] = {}
    for name in headers:
        try:
            _trace(_headers({name: headers[name]}))
        except InvalidJob:
            continue
        kept[name] = headers[name]
    return kept


def seconds(what: str, span: durations.Span) -> float:
    """Return `span` in seconds, 0 or more. Raises InvalidJob, whose message names `what`."""
    if isinstance(span, bool):
        raise InvalidJob(f"{what} is {span}; it must be a duration")
    try:
        value = durations.seconds_in(span)
    except Exception as error:  # a number of the user's own type may raise anything
        raise InvalidJob(f"{what}: {_in_words(error)}") from None
    # The comparison is also false for NaN.
    if not 0 <= value <= delays.MAX_DELAY:
        raise InvalidJob(f"{what} is {shown(span)}; it must be 0 to {delays.MAX_DELAY} seconds")
    return value


def shown(value: object) -> str:
    """Return a short text for `value` in an error message, even if its `__repr__` raises."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


_MAX_SHOWN = 200


def _in_words(error: Exception) -> str:
    try:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return text if len(text) <= _MAX_SAID else f"{text[:_MAX_SAID]}…"


_MAX_SAID = 1000


def _queue(queue: str) -> str:
    if not isinstance(queue, str):
        raise InvalidJob(f"queue is {shown(queue)}; it must be NAMESPACE.NAME of a TaskQueue")
    namespace, _, name = names.plain(queue).partition(".")
    try:
        return names.queue_name(namespace=namespace, name=name)
    except ValueError as error:
        raise InvalidJob(
            f"queue {shown(queue)} is not NAMESPACE.NAME of a TaskQueue: {error}"
        ) from None


def _spec(function: Callable[..., Any]) -> HandlerSpec:
    spec = spec_of(function)
    if spec is None:
        raise InvalidJob(
            f"{shown(function)} is not a handler; decorate it with @handler, or pass a name"
        )
    return spec


def _short(name: str) -> str:
    try:
        is_short = 0 < len(name.encode()) <= _MAX_SHORT_STRING
    except UnicodeEncodeError:
        raise InvalidJob(f"handler {name!r} cannot be encoded as UTF-8") from None
    if not is_short:
        raise InvalidJob(f"handler {shown(name)} must have 1 to {_MAX_SHORT_STRING} bytes")
    return name


def _check_arguments(handler: Handler, body: bytes) -> None:
    """Make the same check as the worker, while the producer can still get the error."""
    if isinstance(handler, str):
        return
    spec = _spec(handler)
    try:
        _binding(spec).arguments(body)
    except (InvalidArguments, HandlerError) as error:
        raise InvalidJob(f"handler {spec.name!r}: {error}") from None


@lru_cache(maxsize=256)
def _binding(spec: HandlerSpec) -> BoundHandler:
    return BoundHandler(spec)


def _route(queue: str, *, delay: float) -> tuple[str, str]:
    try:
        return delays.route(queue, delay=delay)
    except ValueError as error:
        raise InvalidJob(str(error)) from None


def _priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidJob(f"priority is {shown(priority)}; it must be a whole number")
    if not 0 <= priority <= MAX_PRIORITY:
        raise InvalidJob(f"priority is {shown(priority)}; it must be 0 to {MAX_PRIORITY}")
    return int(priority)


def _expiry(expires_in: durations.Span | None, *, delay: int, now: int) -> int | None:
    if expires_in is None:
        return None
    life = seconds("expires_in", expires_in)
    lifetime = int(life * 1000)
    if lifetime <= delay * 1000:
        raise InvalidJob(
            f"expires_in ({life:g} s) must be longer than delay ({delay} s), which is rounded "
            "up to whole seconds: the job would never start"
        )
    return now + lifetime


def _headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(headers, Mapping):
        raise InvalidJob(f"headers is {shown(headers)}; it must be a mapping of names to values")
    given = {names.plain(n) if isinstance(n, str) else n: headers[n] for n in headers}
    for name, value in given.items():
        if not isinstance(name, str) or name.lower().startswith(_RESERVED_HEADERS):
            raise InvalidJob(
                f"header {shown(name)} is reserved: names must not begin with longshore- or x-"
            )
        if is_brokers(name):
            raise InvalidJob(
                f"header {name!r} is reserved: RabbitMQ would route the job to further queues "
                "because of it"
            )
        if is_too_nested(value):
            raise InvalidJob(
                f"header {shown(name)} is nested too deeply or too large: at most "
                f"{MAX_HEADER_DEPTH} levels of lists and mappings are allowed"
            )
        try:
            _encoded({name: value})
        except Exception as error:  # pika looks at types as it writes
            raise InvalidJob(
                f"header {shown(name)} has a value that AMQP cannot carry: {_in_words(error)}"
            ) from None
    size = len(_encoded(given))
    if size > _MAX_HEADERS:
        raise InvalidJob(f"headers have {size} bytes when encoded; at most {_MAX_HEADERS} fit")
    return given


def _encoded(headers: dict[str, Any]) -> bytes:
    encoded = b"".join(Properties(headers=headers).encode())
    # Not everything that can be encoded can be decoded, and a worker has to do both.
    Properties().decode(encoded)
    return encoded


def _trace(headers: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """Return the trace context among `headers`, and the other headers."""
    if TRACEPARENT not in headers:
        return None, headers
    traceparent = headers[TRACEPARENT]
    if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
        raise InvalidJob(
            f"header 'traceparent' is {shown(traceparent)}; W3C trace context requires VERSION-"
            "TRACE-SPAN-FLAGS, e.g. 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        )
    others = {name: headers[name] for name in headers if name != TRACEPARENT}
    return names.plain(traceparent), others


def _encode(arguments: Mapping[str, Any]) -> bytes:
    if not isinstance(arguments, Mapping):
        raise InvalidJob(
            f"arguments is {shown(arguments)}; it must be a mapping of names to values"
        )
    # One by one, so that an error can name the argument.
    return b"{" + b",".join(_encode_one(*item) for item in arguments.items()) + b"}"


def _encode_one(name: str, value: Any) -> bytes:
    if not isinstance(name, str):
        raise InvalidJob(f"the name of argument {shown(name)} must be a string")
    try:
        key = json.dumps(name, ensure_ascii=False)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        written = f"{key}:{text}".encode()
        alike = _alike(value)
    except Exception as error:  # a type of the user's own may raise anything
        raise InvalidJob(
            f"argument {shown(name)} cannot be written as JSON: {_in_words(error)}"
        ) from None
    if alike:
        raise InvalidJob(
            f"argument {shown(name)} has the keys {shown(alike[0])} and {shown(alike[1])} in one "
            "mapping; they are the same in JSON, where keys are strings"
        )
    return written


def _alike(value: Any) -> tuple[Any, Any] | None:
    """Return two keys of one mapping in `value` that JSON writes as the same text, if there are
    any.

    `value` cannot contain itself, since it has been written as JSON.
    """
    holders = [value]
    while holders:
        holder = holders.pop()
        if isinstance(holder, dict):
            if not all(type(key) is str for key in holder):
                keys: dict[str, Any] = {}
                for key in holder:
                    other = keys.setdefault(_key(key), key)
                    if other is not key:
                        return other, key
            holder = holder.values()
        elif not isinstance(holder, list | tuple):
            continue
        holders += [each for each in holder if isinstance(each, dict | list | tuple)]
    return None


def _key(key: Any) -> str:
    (text,) = json.loads(json.dumps({key: None}))
    return str(text)
