"""What follows from how a job ended: what to publish where, before the job is acked.

Values in, values out; the edges are those of `docs/state_machine.md`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from longshore.amqp.publication import Publication
from longshore.contract.delays import MAX_DELAY, route
from longshore.contract.message import (
    MAX_TRACEBACK,
    MAX_UNDECODABLE,
    PERSISTENT,
    UNDECODABLE_HEADERS,
    DeadReason,
    Message,
    apart,
    carried,
    dead_headers,
)
from longshore.contract.names import DEAD_EXCHANGE
from longshore.contract.properties.reserved import DIRECT_REPLY_TO, PROPERTIES, is_brokers
from longshore.contract.retry import RetryPolicy
from longshore.worker.limits import HandlerLimits
from longshore.worker.wire.frames import Ended, Status


class Outcome(StrEnum):
    """How a delivery was settled; the label of `longshore_jobs_total`."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    SNOOZED = "snoozed"
    DEAD = "dead"
    RETURNED = "returned"
    DEFERRED = "deferred"
    """This worker's version cannot run the job; another one may."""

    VOID = "void"
    """The broker had taken the job back; nothing was published or acked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Publish first, then ack. `delay` in seconds."""

    outcome: Outcome
    publication: Publication | None = None
    reason: DeadReason | None = None
    error: str | None = None
    delay: float | None = None
    is_expected: bool = False
    """The handler has announced such failures: news, not a fault."""


SUCCEEDED = Verdict(outcome=Outcome.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A child died with the job. `error` in words, `output` the end of what it wrote, `pid` its
    process."""

    reason: DeadReason
    error: str
    output: str = ""
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Decides for one queue. `now` gives ms since the epoch, `chance` is uniform in [0, 1)."""

    queue: str
    host: str
    retry: RetryPolicy
    handlers: Mapping[str, HandlerLimits]
    """By wire name."""

    others: HandlerLimits
    """For jobs of any other handler."""

    now: Callable[[], int]
    chance: Callable[[], float]
    serves_any: bool = False
    """No handler is unknown."""

    def limits(self, handler: str) -> HandlerLimits:
        """What a job of `handler` may take, whether it is served here or not."""
        return self.handlers.get(handler, self.others)

    def undecodable(self, original: Mapping[str, Any], body: bytes, *, error: str) -> Verdict:
        """For a delivery that is not a job: it stays as it came, bytes and properties."""
        properties = {name: value for name, value in original.items() if name not in PROPERTIES}
        properties["delivery_mode"] = PERSISTENT
        if properties.get("reply_to") == DIRECT_REPLY_TO:
            del properties["reply_to"]
        properties["headers"] = apart(original) | {
            name: value
            for name, value in (original.get("headers") or {}).items()
            if not is_brokers(name)
        }
        unread = properties["headers"].get(UNDECODABLE_HEADERS)
        if isinstance(unread, bytes):
            kept, error = _cut(unread, MAX_UNDECODABLE, error=error)
            properties["headers"][UNDECODABLE_HEADERS] = kept
        return self._dead(properties, body, DeadReason.UNDECODABLE, error)

    def unsendable(self, original: Mapping[str, Any], body: bytes, *, error: str) -> Verdict:
        """For a job whose headers could be read and cannot be written again, or fill a frame.

        A double of 1e30 is an integer too large for AMQP once pika has read it.
        """
        headers = original.get("headers") or {}
        unread = headers.get(UNDECODABLE_HEADERS)
        if not isinstance(unread, bytes):
            unread = repr(headers).encode("utf-8", "backslashreplace")
        kept, why = _cut(unread, MAX_TRACEBACK, error=f"its headers cannot be sent on: {error}")
        plain = {name: value for name, value in original.items() if name not in _ACTED_UPON}
        properties = {**plain, "headers": {UNDECODABLE_HEADERS: kept}}
        return self.undecodable(properties, body, error=why)

    def bare(self, header: bytes, body: bytes, *, error: str) -> Verdict:
        """For a delivery of whose properties nothing can be made that AMQP carries.

        `header` are their bytes. The body stays as it came.
        """
        kept, why = _cut(header, _MAX_BARE, error=error)
        return self._dead(
            {"delivery_mode": PERSISTENT, "headers": {UNDECODABLE_HEADERS: kept}},
            body,
            DeadReason.UNDECODABLE,
            why,
        )

    def before(self, message: Message) -> Verdict | None:
        """For a job that must not be run at all; None when it may."""
        if message.expires_at is not None and message.expires_at <= self.now():
            late = (self.now() - message.expires_at) / 1000
            return self._bury(message, DeadReason.EXPIRED, f"expired {late:.3f} s before its start")
        if not self.serves_any and message.handler not in self.handlers:
            error = f"no handler is named {message.handler!r}; this worker serves: {self._served()}"
            return self._defer(message, DeadReason.UNKNOWN_HANDLER, error)
        limits = self.limits(message.handler)
        if message.attempt > limits.max_attempts:
            error = (
                f"all {limits.max_attempts} attempts are used up; {message.lost} of them ended "
                "with their worker or its connection, and nothing shows that the job had not begun"
            )
            return self._bury(message, DeadReason.WORKER_LOST, error)
        if message.attempt > 1 and self._is_too_old(message, delay=0.0):
            error = f"older than {limits.max_age:g} s before attempt {message.attempt} began"
            return self._bury(message, DeadReason.MAX_AGE, error)
        return None

    def after(self, message: Message, ended: Ended, *, original: Mapping[str, Any]) -> Verdict:
        """For a run that its child has reported."""
        error = ended.error or str(ended.status)
        match ended.status:
            case Status.SUCCEEDED:
                return SUCCEEDED
            case Status.SNOOZED:
                delay = ended.delay or 0.0
                if self._is_too_old(message, delay=delay):
                    return self._bury(message, DeadReason.MAX_AGE, error)
                fits = replace(message, deferred_since=None)
                return self._later(fits, delay, outcome=Outcome.SNOOZED, error=error)
            case Status.UNDECODABLE:
                return self.undecodable(original, message.body, error=error)
            case Status.INVALID_ARGUMENTS:
                return self._defer(message, DeadReason.INVALID_ARGUMENTS, error)
            case Status.DISCARDED:
                return self._bury(message, DeadReason.DISCARDED, error, ended.traceback)
            case Status.NOT_RETRYABLE:
                return self._bury(message, DeadReason.NOT_RETRYABLE, error, ended.traceback)
            case Status.EXPECTED:
                verdict = self._bury(message, DeadReason.NOT_RETRYABLE, error)
                return replace(verdict, is_expected=True)
            case Status.FAILED | Status.INTERRUPTED:
                return self._failed(
                    message,
                    reason=DeadReason.MAX_ATTEMPTS,
                    error=error,
                    traceback=ended.traceback,
                    delay=ended.delay,
                )

    def after_death(self, message: Message, death: Death) -> Verdict:
        """For a job that was running when its child died."""
        return self._failed(
            message, reason=death.reason, error=death.error, traceback=death.output or None
        )

    def returned(self, message: Message) -> Verdict:
        """For a job given back uncharged, by publishing it anew."""
        return self._later(message, 0.0, outcome=Outcome.RETURNED)

    def _served(self) -> str:
        names = sorted(self.handlers)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (", ".join(names[:_NAMED]) or "none") + more

    def _defer(self, message: Message, reason: DeadReason, error: str) -> Verdict:
        """Leave a job to another version of the workers, which a rollout may be bringing up.

        Nothing here tells a rollout from a mistake, so a job is offered again for a while, and only
        then is what this worker makes of it final.
        """
        now = self.now()
        since = now if message.deferred_since is None else message.deferred_since
        since = min(since, now)  # written by a clock that is ahead, it would never be long ago
        delay = self.retry.deferral(since=since, now=now)
        if delay is None:
            waited = f" (deferred to other versions of the workers for {(now - since) / 1000:g} s)"
            return self._bury(message, reason, error + (waited if now > since else ""))
        deferred = replace(message, deferred_since=since)
        verdict = self._later(deferred, delay, outcome=Outcome.DEFERRED, error=error)
        return replace(verdict, reason=reason)

    def _failed(
        self,
        message: Message,
        *,
        reason: DeadReason,
        error: str,
        traceback: str | None,
        delay: float | None = None,
    ) -> Verdict:
        if message.attempt >= self.limits(message.handler).max_attempts:
            return self._bury(message, reason, error, traceback)
        if delay is None:
            delay = self.retry.delay_after(message.attempt, chance=self.chance())
        if self._is_too_old(message, delay=delay):
            return self._bury(message, DeadReason.MAX_AGE, error, traceback)
        again = replace(message.next_attempt(), deferred_since=None)
        return self._later(again, delay, outcome=Outcome.RETRIED, error=error)

    def _is_too_old(self, message: Message, *, delay: float) -> bool:
        """Whether the job has passed its max age in `delay` seconds from now."""
        age = (self.now() - message.enqueued_at) / 1000 + delay
        return age > self.limits(message.handler).max_age

    def _later(
        self, message: Message, delay: float, *, outcome: Outcome, error: str | None = None
    ) -> Verdict:
        delay = min(delay, MAX_DELAY)
        exchange, key = route(self.queue, delay=delay)
        publication = Publication(
            exchange=exchange, key=key, properties=message.properties(), body=message.body
        )
        return Verdict(outcome=outcome, publication=publication, error=error, delay=delay)

    def _bury(
        self, message: Message, reason: DeadReason, error: str, traceback: str | None = None
    ) -> Verdict:
        return self._dead(message.properties(), message.body, reason, error, traceback)

    def _dead(
        self,
        properties: Mapping[str, Any],
        body: bytes,
        reason: DeadReason,
        error: str,
        traceback: str | None = None,
    ) -> Verdict:
        why = dead_headers(
            reason=reason,
            error=error,
            traceback=traceback,
            died_at=self.now(),
            host=self.host,
            queue=self.queue,
        )
        publication = Publication(
            exchange=DEAD_EXCHANGE,
            key=self.queue,
            properties={**properties, "headers": carried(properties["headers"]) | why},
            body=body,
        )
        return Verdict(outcome=Outcome.DEAD, publication=publication, reason=reason, error=error)


def _cut(headers: bytes, most: int, *, error: str) -> tuple[bytes, str]:
    """At most `most` bytes of `headers`, and `error`, which tells of the rest."""
    if len(headers) <= most:
        return headers, error
    # In front, as the end of a long error is cut off.
    said = f"only the first {most} of {len(headers)} bytes of headers are kept; {error}"
    return headers[:most], said


_ACTED_UPON = frozenset({"reply_to", "cluster_id", "priority"})
"""What else means something to the broker; given up where it has refused the rest."""

_NAMED = 20
"""Handlers that an error names."""

_MAX_BARE = 1024
"""Bytes of unreadable properties in a dead letter that must fit into the smallest frame, 4 KiB."""
