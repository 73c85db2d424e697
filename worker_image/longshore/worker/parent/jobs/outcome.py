"""Decides what follows from a job's end: what to publish, and where, before the job is acked.

Pure functions of values; the edges are those of `docs/state_machine.md`.
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
    """What to publish before the ack. `delay` is in seconds."""

    outcome: Outcome
    publication: Publication | None = None
    reason: DeadReason | None = None
    error: str | None = None
    delay: float | None = None
    is_expected: bool = False
    """Whether the handler declares such failures as expected, so that they are not faults."""


SUCCEEDED = Verdict(outcome=Outcome.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """The death of a child with the job. `error` describes it, `output` is the end of what the job
    wrote, `pid` the child's process id."""

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
    """The limits of handlers, by wire name."""

    others: HandlerLimits
    """The limits of jobs of any other handler."""

    now: Callable[[], int]
    chance: Callable[[], float]
    serves_any: bool = False
    """Whether jobs of all handlers are served, so that no handler is unknown."""

    def limits(self, handler: str) -> HandlerLimits:
        """Return the limits of a job of `handler`, whether it is served here or not."""
        return self.handlers.get(handler, self.others)

    def undecodable(self, original: Mapping[str, Any], body: bytes, *, error: str) -> Verdict:
        """Decide on a delivery that is not a job; its bytes and properties stay unchanged."""
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
        """Decide on a job whose headers were read but cannot be written again, or fill a frame.

        For example, pika reads a double of 1e30 as an integer, which is too large for AMQP.
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
        """Decide on a delivery none of whose properties can be sent by AMQP.

        `header` has the bytes of its properties. The body stays unchanged.
        """
        kept, why = _cut(header, _MAX_BARE, error=error)
        return self._dead(
            {"delivery_mode": PERSISTENT, "headers": {UNDECODABLE_HEADERS: kept}},
            body,
            DeadReason.UNDECODABLE,
            why,
        )

    def before(self, message: Message) -> Verdict | None:
        """Decide on a job that must not be run at all; return None if it may be run."""
        if message.expires_at is not None and message.expires_at <= self.now():
            late = (self.now() - message.expires_at) / 1000
            return self._bury(message, DeadReason.EXPIRED, f"expired {late:.3f} s before its start")
        if not self.serves_any and message.handler not in self.handlers:
            error = f"no handler is named {message.handler!r}; this worker serves: {self._served()}"
            return self._defer(message, DeadReason.UNKNOWN_HANDLER, error)
        limits = self.limits(message.handler)
        if message.attempt > limits.max_attempts:
            error = (
                f"all {limits.max_attempts} attempts are used up; deliveries lost with their "
                f"worker or connection ({message.lost}) count as attempts, because nothing shows "
                "that they had not begun"
            )
            return self._bury(message, DeadReason.WORKER_LOST, error)
        if message.attempt > 1 and self._is_too_old(message, delay=0.0):
            error = f"older than {limits.max_age:g} s before attempt {message.attempt} began"
            return self._bury(message, DeadReason.MAX_AGE, error)
        return None

    def after(self, message: Message, ended: Ended, *, original: Mapping[str, Any]) -> Verdict:
        """Decide on a run whose end its child has reported."""
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
        """Decide on a job that was running when its child died."""
        return self._failed(
            message, reason=death.reason, error=death.error, traceback=death.output or None
        )

    def returned(self, message: Message) -> Verdict:
        """Give a job back uncharged, by publishing it anew."""
        return self._later(message, 0.0, outcome=Outcome.RETURNED)

    def _served(self) -> str:
        names = sorted(self.handlers)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return (", ".join(names[:_NAMED]) or "none") + more

    def _defer(self, message: Message, reason: DeadReason, error: str) -> Verdict:
        """Leave a job to another version of the workers, which a rollout may be starting.

        A rollout cannot be told from a mistake here. So the job is offered again for a while, and
        this worker's verdict becomes final only after that.
        """
        now = self.now()
        since = now if message.deferred_since is None else message.deferred_since
        since = min(since, now)  # a time from a clock that is ahead would postpone the end
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
        """Return whether the job will be older than its max age in `delay` seconds."""
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
    """Return at most `most` bytes of `headers`, and `error`, which mentions any cut."""
    if len(headers) <= most:
        return headers, error
    # In front, because the end of a long error is cut off.
    said = f"only the first {most} of {len(headers)} bytes of headers are kept; {error}"
    return headers[:most], said


_ACTED_UPON = frozenset({"reply_to", "cluster_id", "priority"})
"""Other properties that the broker acts upon; dropped when it has refused the rest."""

_NAMED = 20
"""Maximum number of handlers that an error names."""

_MAX_BARE = 1024
"""Maximum bytes of unreadable properties in a dead letter that fits any frame (at least 4 KiB)."""
