"""What a handler says about its own jobs, in `@handler(...)`."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from longshore.contract.message import ATTEMPT, DEAD_REASON, ENQUEUED_AT, ERROR, TRACEBACK
from tests.integration.worker.workers import Bench

pytestmark = pytest.mark.integration

HANDLERS = """
import os, time
from longshore import Job, Retry, SoftTimeLimit, handler

def note(diary, line):
    with open(diary, "a") as file:
        print(line, file=file)

@handler(hard_limit="1s", max_attempts=1)
def hang(job: Job, diary: str) -> None:
    note(diary, round(job.seconds_left, 1))
    time.sleep(60)

@handler(soft_limit=0.5, max_attempts=1)
def tidy(diary: str) -> None:
    try:
        time.sleep(60)
    except SoftTimeLimit:
        note(diary, "tidied")

@handler(soft_limit=0.5, max_attempts=1)
async def tidy_async(diary: str) -> None:
    import asyncio
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note(diary, "tidied")
        raise

@handler
def unlimited(diary: str) -> None:
    time.sleep(1.5)
    note(diary, "done")

@handler(retry_when=lambda error: isinstance(error, ConnectionError))
def fetch(job: Job, diary: str, missing: bool) -> None:
    note(diary, f"attempt {job.attempt}")
    if missing:
        raise LookupError("no such page")
    if job.attempt == 1:
        raise ConnectionResetError("try again")

def forgetful(error):
    if isinstance(error, ValueError):
        raise RuntimeError("I am broken myself")

@handler(retry_when=forgetful, max_attempts=2)
def confused(job: Job, diary: str, wrong: bool) -> None:
    note(diary, f"attempt {job.attempt}")
    if wrong:
        raise ValueError("first")
    raise KeyError("second")

def never(error):
    raise AssertionError("nobody asks")

@handler(retry_when=never, throws=(LookupError, PermissionError))
def charge(job: Job, diary: str, how: str) -> None:
    note(diary, f"attempt {job.attempt}")
    if how == "expected":
        raise KeyError("card declined")
    if how == "retry" and job.attempt == 1:
        raise Retry("later", after=0)

def slow(error):
    time.sleep(60)
    return True

@handler(retry_when=slow, soft_limit=0.5, max_attempts=1)
def doubtful() -> None:
    raise ValueError("is it?")

@handler(max_age="2s", max_attempts=50)
def brief(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    raise Retry("not yet", after="1s")

@handler
def fail(job: Job, diary: str) -> None:
    note(diary, job.attempt)
    raise RuntimeError("no")
"""


@pytest.fixture
def options(bench: Bench) -> Bench:
    (bench.directory / "options.py").write_text(HANDLERS)
    return bench


def test_a_handlers_hard_limit_is_in_force_and_its_deadline_known(options: Bench) -> None:
    options.started(handlers=["options"])
    options.enqueue("hang", diary=options.diary)
    properties, _ = options.dead()
    assert properties.headers[DEAD_REASON] == "hard-limit"
    assert "hard limit of 1 s" in properties.headers[ERROR]
    assert [float(line) <= 1.0 for line in options.lines()] == [True]


@pytest.mark.parametrize("handler", ["tidy", "tidy_async"])
def test_a_handlers_soft_limit_is_in_force(options: Bench, handler: str) -> None:
    worker = options.started(handlers=["options"])
    options.enqueue(handler, diary=options.diary)
    worker.wait("job-settled")
    assert options.lines() == ["tidied"]


def test_a_handler_without_limits_has_its_queues(options: Bench) -> None:
    worker = options.started(handlers=["options"], slots=2, prefetch=2)
    options.enqueue("hang", diary=str(options.directory / "other"))
    options.enqueue("unlimited", diary=options.diary)
    worker.wait("job-settled", outcome="succeeded", handler="unlimited")
    assert options.lines() == ["done"]


@pytest.mark.parametrize(
    ("option", "config", "said"),
    [
        ("hard_limit='2m'", {}, ("hard_limit 2m", "timeLimit.hard is 30s")),
        ("soft_limit=25", {"soft_limit": "20s"}, ("soft_limit 25s", "timeLimit.soft is 20s")),
        ("soft_limit=30", {}, ("soft_limit 30s", "must be shorter than its hard limit, 30s")),
        ("throws='KeyError'", {}, ("throws contains 'KeyError'", "subclasses of Exception")),
    ],
)
def test_limits_that_a_queue_does_not_allow_keep_the_worker_from_starting(
    options: Bench, option: str, config: dict[str, Any], said: tuple[str, ...]
) -> None:
    (options.directory / "greedy.py").write_text(
        f"from longshore import handler\n\n@handler({option})\ndef render(): ...\n"
    )
    worker = options.start(handlers=["greedy", "options"], **config)
    assert worker.exit_code() == 3
    message = worker.termination.read_text().splitlines()[0]
    assert message.startswith("cannot import handlers from greedy: ")
    for part in said:
        assert part in message


def test_retry_when_decides_whether_a_failure_is_tried_again(options: Bench) -> None:
    worker = options.started(handlers=["options"])
    options.enqueue("fetch", diary=options.diary, missing=True)
    properties, body = options.dead()
    assert properties.headers[DEAD_REASON] == "not-retryable"
    assert properties.headers[ERROR] == "LookupError: no such page"
    assert "in fetch" in properties.headers[TRACEBACK]
    assert json.loads(body)["missing"] is True
    assert options.lines() == ["attempt 1"]

    options.enqueue("fetch", diary=options.diary, missing=False)
    worker.wait("job-settled", outcome="succeeded")
    assert options.lines() == ["attempt 1", "attempt 1", "attempt 2"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (True, "ValueError: first; retry_when failed: RuntimeError: I am broken myself"),
        (
            False,
            "KeyError: 'second'; retry_when failed: TypeError: it returned None, not True or False",
        ),
    ],
    ids=["raises", "forgets-to-return"],
)
def test_a_retry_when_that_fails_costs_no_attempt_that_was_due(
    options: Bench, wrong: bool, said: str
) -> None:
    options.started(handlers=["options"])
    options.enqueue("confused", diary=options.diary, wrong=wrong)
    properties, _ = options.dead()
    assert options.lines() == ["attempt 1", "attempt 2"]
    assert properties.headers[DEAD_REASON] == "max-attempts"
    assert said in properties.headers[ERROR]
    assert "in forgetful" in properties.headers[TRACEBACK] or not wrong


def test_an_expected_failure_is_final_and_no_fault(options: Bench) -> None:
    worker = options.started(handlers=["options"])
    options.enqueue("charge", diary=options.diary, how="expected")
    properties, _ = options.dead()
    assert properties.headers[DEAD_REASON] == "not-retryable"
    assert properties.headers[ERROR] == "KeyError: 'card declined'"
    assert TRACEBACK not in properties.headers
    told = worker.wait("job-settled", outcome="dead")
    assert (told["level"], told["reason"]) == ("info", "not-retryable")
    assert options.lines() == ["attempt 1"]


def test_retry_snooze_and_discard_are_not_asked_about(options: Bench) -> None:
    worker = options.started(handlers=["options"])
    options.enqueue("charge", diary=options.diary, how="retry")
    worker.wait("job-settled", outcome="succeeded")
    assert options.lines() == ["attempt 1", "attempt 2"]


def test_retry_when_runs_within_the_jobs_limits(options: Bench) -> None:
    options.started(handlers=["options"])
    options.enqueue("doubtful")
    properties, _ = options.dead()
    assert properties.headers[ERROR].startswith("SoftTimeLimit")
    assert "ValueError: is it?" in properties.headers[TRACEBACK]


def test_a_job_is_not_tried_again_past_its_handlers_max_age(options: Bench) -> None:
    options.started(handlers=["options"])
    begun = time.time()
    options.enqueue("brief", diary=options.diary)
    properties, _ = options.dead()
    assert properties.headers[DEAD_REASON] == "max-age"
    assert properties.headers[ERROR] == "Retry: not yet"
    assert time.time() - begun < 20
    assert 1 <= len(options.lines()) <= 2


def test_a_job_is_not_tried_again_past_its_queues_max_age(options: Bench) -> None:
    options.started(
        handlers=["options"], retry={"initial_delay": 5.0, "max_age": 4.0, "max_attempts": 9}
    )
    options.enqueue("fail", diary=options.diary)
    properties, _ = options.dead()
    assert properties.headers[DEAD_REASON] == "max-age"
    assert options.lines() == ["1"]


def test_a_retry_that_arrives_past_max_age_is_not_begun(options: Bench) -> None:
    options.started(handlers=["options"])
    long_ago = int(time.time() * 1000) - 3_600_000
    options.publish(
        json.dumps({"diary": options.diary}).encode(),
        type="brief",
        content_type="application/json",
        headers={ENQUEUED_AT: long_ago, ATTEMPT: 2},
    )
    properties, _ = options.dead()
    assert properties.headers[DEAD_REASON] == "max-age"
    assert "older than 2 s" in properties.headers[ERROR]
    assert options.lines() == []
