from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from longshore.amqp.publication import Publication
from longshore.contract.delays import DELAY_EXCHANGE, MAX_DELAY, route
from longshore.contract.message import (
    ATTEMPT,
    DEAD_REASON,
    DEFERRED_SINCE,
    DIED_AT,
    ERROR,
    MAX_TRACEBACK,
    MAX_UNDECODABLE,
    TRACEBACK,
    UNDECODABLE_HEADERS,
    DeadReason,
    Message,
)
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE
from longshore.contract.retry import RetryPolicy
from longshore.worker.limits import HandlerLimits
from longshore.worker.parent.jobs.outcome import Death, Judge, Outcome, Verdict
from longshore.worker.wire.frames import Ended, Status

NOW = 1_700_000_000_000
QUEUE = "media.render"
JUDGE = Judge(
    queue=QUEUE,
    host="pod-1",
    retry=RetryPolicy(max_attempts=3, initial_delay=10, factor=2, jitter=0.25),
    handlers={
        "render": HandlerLimits(max_attempts=3, hard_limit=60.0),
        "once": HandlerLimits(max_attempts=1, hard_limit=60.0),
        "brief": HandlerLimits(max_attempts=3, hard_limit=60.0, max_age=30.0),
    },
    others=HandlerLimits(max_attempts=3, hard_limit=60.0),
    now=lambda: NOW,
    chance=lambda: 0.5,
)
MESSAGE = Message(id="j-1", handler="render", body=b'{"a": 1}', enqueued_at=NOW - 5000)
TOO_LONG = replace(MESSAGE, deferred_since=NOW - 600_000)
"""Deferred for as long as a job may be."""

ORIGINAL: dict[str, Any] = {"type": "render", "headers": {}}


def ended(status: Status, **fields: Any) -> Ended:
    return Ended(ticket=1, status=status, seconds=1.0, **fields)


def after(message: Message, status: Status, **fields: Any) -> Verdict:
    return JUDGE.after(message, ended(status, **fields), original=ORIGINAL)


def published(verdict: Verdict) -> Publication:
    assert verdict.publication is not None
    return verdict.publication


def test_success_publishes_nothing() -> None:
    assert after(MESSAGE, Status.SUCCEEDED) == Verdict(outcome=Outcome.SUCCEEDED)


@pytest.mark.parametrize(
    ("message", "status", "fields", "delay", "attempt"),
    [
        (MESSAGE, Status.FAILED, {}, 10.0, 2),
        (replace(MESSAGE, attempt=2), Status.FAILED, {}, 20.0, 3),
        (MESSAGE, Status.FAILED, {"delay": 3.0}, 3.0, 2),
        (MESSAGE, Status.FAILED, {"delay": 0.0}, 0.0, 2),
        (MESSAGE, Status.FAILED, {"delay": 1e12}, float(MAX_DELAY), 2),
        (MESSAGE, Status.INTERRUPTED, {}, 10.0, 2),
        (MESSAGE, Status.SNOOZED, {"delay": 60.0}, 60.0, 1),
        (replace(MESSAGE, attempt=3), Status.SNOOZED, {"delay": 60.0}, 60.0, 3),
    ],
    ids=[
        "first-failure",
        "second-failure",
        "handler-says-when",
        "handler-says-now",
        "too-far-away",
        "interruption-of-its-own",
        "snooze",
        "snooze-at-last-attempt",
    ],
)
def test_what_runs_again_goes_through_the_ladder(
    message: Message, status: Status, fields: dict[str, Any], delay: float, attempt: int
) -> None:
    verdict = after(message, status, **fields)
    publication = published(verdict)
    assert verdict.delay == delay
    assert (publication.exchange, publication.key) == route(QUEUE, delay=delay)
    assert publication.exchange == (DELAY_EXCHANGE if delay else JOBS_EXCHANGE)
    assert publication.properties["headers"][ATTEMPT] == attempt
    assert publication.properties["message_id"] == "j-1"
    assert publication.body == MESSAGE.body


@pytest.mark.parametrize(
    ("message", "status", "reason"),
    [
        (replace(MESSAGE, attempt=3), Status.FAILED, DeadReason.MAX_ATTEMPTS),
        (replace(MESSAGE, attempt=9), Status.FAILED, DeadReason.MAX_ATTEMPTS),
        (replace(MESSAGE, handler="once"), Status.FAILED, DeadReason.MAX_ATTEMPTS),
        (MESSAGE, Status.DISCARDED, DeadReason.DISCARDED),
        (TOO_LONG, Status.INVALID_ARGUMENTS, DeadReason.INVALID_ARGUMENTS),
        (MESSAGE, Status.UNDECODABLE, DeadReason.UNDECODABLE),
        (MESSAGE, Status.NOT_RETRYABLE, DeadReason.NOT_RETRYABLE),
        (MESSAGE, Status.EXPECTED, DeadReason.NOT_RETRYABLE),
    ],
    ids=[
        "last",
        "past-last",
        "handlers-own-limit",
        "discard",
        "arguments",
        "body",
        "retry-when-says-no",
        "throws",
    ],
)
def test_what_must_not_run_again_is_dead_with_its_reason(
    message: Message, status: Status, reason: DeadReason
) -> None:
    verdict = after(message, status, error="E: no", traceback="Traceback")
    publication = published(verdict)
    assert (verdict.outcome, verdict.reason) == (Outcome.DEAD, reason)
    assert (publication.exchange, publication.key) == (DEAD_EXCHANGE, QUEUE)
    headers = publication.properties["headers"]
    assert headers[DEAD_REASON] == reason
    assert headers[ERROR].startswith("E: no")
    assert headers[DIED_AT] == NOW
    assert publication.body == MESSAGE.body


@pytest.mark.parametrize("reason", [DeadReason.HARD_LIMIT, DeadReason.WORKER_LOST])
def test_a_death_is_an_attempt_and_keeps_its_reason_when_it_was_the_last(
    reason: DeadReason,
) -> None:
    death = Death(reason=reason, error="killed", output="last words")
    again = JUDGE.after_death(MESSAGE, death)
    assert again.outcome is Outcome.RETRIED
    assert published(again).properties["headers"][ATTEMPT] == 2
    last = JUDGE.after_death(replace(MESSAGE, attempt=3), death)
    assert last.reason is reason
    assert published(last).properties["headers"][TRACEBACK] == "last words"


def test_an_error_names_some_of_the_handlers_where_there_are_many() -> None:
    limits = JUDGE.limits("h")
    many = replace(JUDGE, handlers={f"h{number:04}": limits for number in range(5000)})
    verdict = many.before(replace(MESSAGE, handler="other"))
    assert verdict
    assert verdict.error
    assert "h0000, h0001" in verdict.error
    assert verdict.error.endswith("h0019 and 4980 more")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (MESSAGE, None),
        (replace(MESSAGE, attempt=3), None),
        (replace(MESSAGE, attempt=4), DeadReason.WORKER_LOST),
        (replace(MESSAGE, handler="once", attempt=2), DeadReason.WORKER_LOST),
        (replace(TOO_LONG, handler="other"), DeadReason.UNKNOWN_HANDLER),
        (replace(MESSAGE, handler="other", expires_at=NOW), DeadReason.EXPIRED),
        (replace(MESSAGE, expires_at=NOW), DeadReason.EXPIRED),
        (replace(MESSAGE, expires_at=NOW + 1), None),
    ],
    ids=[
        "fresh",
        "last",
        "past-last",
        "own-limit",
        "unknown",
        "unknown-expired",
        "expired",
        "in-time",
    ],
)
def test_what_is_dead_before_it_runs(message: Message, reason: DeadReason | None) -> None:
    verdict = JUDGE.before(message)
    assert (verdict.reason if verdict else None) is reason


def unknown(message: Message) -> Verdict:
    verdict = JUDGE.before(replace(message, handler="other"))
    assert verdict is not None
    return verdict


def misfit(message: Message) -> Verdict:
    return after(message, Status.INVALID_ARGUMENTS, error="speed: field required")


@pytest.mark.parametrize("judged", [unknown, misfit])
def test_what_another_version_may_run_is_left_to_it_uncharged(
    judged: Callable[[Message], Verdict],
) -> None:
    verdict = judged(replace(MESSAGE, attempt=3))
    publication = published(verdict)
    assert (verdict.outcome, verdict.delay) == (Outcome.DEFERRED, 1.0)
    assert (publication.exchange, publication.key) == route(QUEUE, delay=1.0)
    headers = publication.properties["headers"]
    assert (headers[ATTEMPT], headers[DEFERRED_SINCE]) == (3, NOW)


@pytest.mark.parametrize("judged", [unknown, misfit])
def test_what_no_version_has_run_for_long_is_dead_and_its_error_says_for_how_long(
    judged: Callable[[Message], Verdict],
) -> None:
    verdict = judged(TOO_LONG)
    assert verdict.outcome is Outcome.DEAD
    assert verdict.error is not None
    assert verdict.error.endswith("(deferred to other versions of the workers for 600 s)")


@pytest.mark.parametrize("judged", [unknown, misfit])
def test_a_deferral_from_the_future_begins_now(judged: Callable[[Message], Verdict]) -> None:
    verdict = judged(replace(MESSAGE, deferred_since=NOW + 10**12))
    assert verdict.delay == 1.0
    assert published(verdict).properties["headers"][DEFERRED_SINCE] == NOW


@pytest.mark.parametrize("status", [Status.FAILED, Status.SNOOZED])
def test_a_job_that_has_found_its_version_may_be_deferred_anew(status: Status) -> None:
    deferred = replace(MESSAGE, deferred_since=NOW - 5_000)
    verdict = after(deferred, status, delay=1.0)
    assert DEFERRED_SINCE not in published(verdict).properties["headers"]


BRIEF = replace(MESSAGE, handler="brief")  # 5 s old, max age 30 s


@pytest.mark.parametrize(
    ("status", "delay", "outcome"),
    [
        (Status.FAILED, 25.0, Outcome.RETRIED),
        (Status.FAILED, 25.001, Outcome.DEAD),
        (Status.INTERRUPTED, 26.0, Outcome.DEAD),
        (Status.SNOOZED, 25.0, Outcome.SNOOZED),
        (Status.SNOOZED, 26.0, Outcome.DEAD),
    ],
)
def test_what_would_run_again_past_its_max_age_is_dead_now(
    status: Status, delay: float, outcome: Outcome
) -> None:
    verdict = after(BRIEF, status, delay=delay, error="E: no", traceback="Traceback")
    assert verdict.outcome is outcome
    if outcome is Outcome.DEAD:
        assert verdict.reason is DeadReason.MAX_AGE
        assert published(verdict).properties["headers"][ERROR] == "E: no"


def test_the_last_attempt_dies_of_its_number_and_not_of_its_age() -> None:
    verdict = after(replace(BRIEF, attempt=3), Status.FAILED, delay=3600.0)
    assert verdict.reason is DeadReason.MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("age", "attempt", "reason"),
    [(31_000, 1, None), (29_000, 2, None), (31_000, 2, DeadReason.MAX_AGE)],
    ids=["first-attempt-however-late", "retry-in-time", "retry-too-late"],
)
def test_a_retry_that_comes_too_late_is_not_begun(
    age: int, attempt: int, reason: DeadReason | None
) -> None:
    verdict = JUDGE.before(replace(BRIEF, enqueued_at=NOW - age, attempt=attempt))
    assert (verdict.reason if verdict else None) is reason


def test_a_failure_that_was_announced_is_no_fault_and_keeps_no_traceback() -> None:
    verdict = after(MESSAGE, Status.EXPECTED, error="E: no", traceback=None)
    assert verdict.is_expected
    assert TRACEBACK not in published(verdict).properties["headers"]
    assert not after(MESSAGE, Status.NOT_RETRYABLE).is_expected


def test_a_returned_job_goes_to_the_queue_as_it_was() -> None:
    message = replace(MESSAGE, attempt=2, priority=7, headers={"tenant": "a"})
    publication = published(JUDGE.returned(message))
    assert (publication.exchange, publication.key) == (JOBS_EXCHANGE, QUEUE)
    assert publication.properties == message.properties()


def test_what_is_no_job_keeps_its_properties_but_those_the_broker_would_act_on() -> None:
    original = {
        "type": None,
        "content_type": "text/plain",
        "user_id": "somebody",
        "expiration": "1000",
        "correlation_id": "c",
        "headers": {"mine": 1, "x-mine": 2, "x-delivery-count": 3, "CC": ["elsewhere"]},
    }
    publication = published(JUDGE.undecodable(original, b"\xff", error="no type"))
    properties = publication.properties
    assert publication.body == b"\xff"
    assert properties["content_type"] == "text/plain"
    assert properties["correlation_id"] == "c"
    assert "user_id" not in properties
    assert "expiration" not in properties
    kept = {name for name in properties["headers"] if not name.startswith("longshore-")}
    assert kept == {"mine", "x-mine"}


def test_headers_that_could_not_be_read_are_kept_to_the_byte_and_a_cut_is_told() -> None:
    def letter(unread: bytes) -> dict[str, Any]:
        original = {"headers": {UNDECODABLE_HEADERS: unread}}
        verdict = JUDGE.undecodable(original, b"", error="why")
        headers: dict[str, Any] = published(verdict).properties["headers"]
        return headers

    whole = bytes(range(256)) * (MAX_UNDECODABLE // 256)
    assert letter(whole)[UNDECODABLE_HEADERS] == whole
    assert letter(whole)[ERROR] == "why"
    assert letter(whole + b"x")[UNDECODABLE_HEADERS] == whole
    assert letter(whole + b"x")[ERROR] == (
        "only the first 98304 of 98305 bytes of headers are kept; why"
    )


def test_headers_that_cannot_be_sent_on_are_kept_as_far_as_they_fit() -> None:
    def letter(headers: dict[str, Any]) -> dict[str, Any]:
        verdict = JUDGE.unsendable({"headers": headers}, b"", error="why")
        kept: dict[str, Any] = published(verdict).properties["headers"]
        return kept

    short = letter({"mine": "Привет"})
    assert short[UNDECODABLE_HEADERS].decode() == "{'mine': 'Привет'}"
    assert short[ERROR] == "its headers cannot be sent on: why"
    long = letter({"mine": "П" * 20_000})
    assert len(long[UNDECODABLE_HEADERS]) == MAX_TRACEBACK
    assert long[ERROR].startswith(
        "only the first 16384 of 40012 bytes of headers are kept; its headers"
    )
    unread = letter({UNDECODABLE_HEADERS: b"\xff" * 20_000})
    assert unread[UNDECODABLE_HEADERS] == b"\xff" * MAX_TRACEBACK
