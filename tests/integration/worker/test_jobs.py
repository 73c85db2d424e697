"""How jobs end: each edge of docs/state_machine.md that a handler can take."""

from __future__ import annotations

import json

import pytest

from longshore.contract.delays import route
from longshore.contract.message import (
    ATTEMPT,
    DEAD_REASON,
    ERROR,
    EXPIRES_AT,
    HOST,
    QUEUE,
    TRACEBACK,
)
from tests.integration.worker.workers import Bench, is_alive

pytestmark = pytest.mark.integration


def test_jobs_are_done_and_acked(bench: Bench) -> None:
    worker = bench.started(slots=2, prefetch=2)
    for number in range(20):
        bench.enqueue("write", diary=bench.diary, text=str(number))
    worker.wait("job-settled", count=20, outcome="succeeded")
    assert sorted(bench.lines()) == sorted(f"{number} 1" for number in range(20))
    assert worker.stop() == 0
    assert bench.is_empty()


def test_a_failed_job_runs_again_after_its_delay_with_the_next_attempt(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("fail.twice", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    attempts, times = zip(*(line.split() for line in bench.lines()), strict=True)
    assert attempts == ("1", "2", "3")
    first, second, third = map(float, times)
    assert second - first >= 1.0
    assert third - second >= 2.0


def test_a_job_out_of_attempts_goes_to_the_dead_letters_with_error_and_traceback(
    bench: Bench,
) -> None:
    bench.started()
    job = bench.enqueue("fail", diary=bench.diary)
    properties, body = bench.dead()
    assert bench.lines() == ["1", "2"]
    assert properties.message_id == job
    assert json.loads(body) == {"diary": bench.diary}
    assert properties.headers[DEAD_REASON] == "max-attempts"
    assert properties.headers[ERROR] == "RuntimeError: it never works"
    assert 'raise RuntimeError("it never works")' in properties.headers[TRACEBACK]
    assert properties.headers[QUEUE] == bench.queue
    assert properties.headers[HOST]
    assert properties.headers[ATTEMPT] == 2


def test_a_handler_says_when_it_wants_another_attempt(bench: Bench) -> None:
    bench.started()
    bench.enqueue("retry_soon", diary=bench.diary)
    properties, _ = bench.dead()
    assert bench.lines() == ["1", "2"]
    assert properties.headers[ERROR] == "Retry: not yet"


def test_a_snoozed_job_runs_later_and_is_not_charged(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("snooze_once", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["1", "1"]


def test_a_discarded_job_is_dead_at_once(bench: Bench) -> None:
    bench.started()
    bench.enqueue("discard")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "discarded"


def test_a_job_that_outlives_its_limit_is_killed_with_all_its_processes(bench: Bench) -> None:
    worker = bench.started(hard_limit="1s")
    bench.enqueue("hang", diary=bench.diary)
    properties, _ = bench.dead()
    pids = [int(line) for line in bench.lines()]
    assert len(pids) == 3
    assert not [pid for pid in pids if is_alive(pid)]
    assert properties.headers[DEAD_REASON] == "hard-limit"
    assert "hard limit of 1 s" in properties.headers[ERROR]
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert 'longshore_kills_total{cause="hard-limit"} 1.0' in worker.get("/metrics")[1]


def test_what_was_delayed_on_purpose_is_no_wait(bench: Bench) -> None:
    worker = bench.started()
    exchange, key = route(bench.queue, delay=3)
    body = json.dumps({"diary": f"{bench.diary}-delayed"}).encode()
    properties = {"type": "write", "content_type": "application/json"}
    bench.publish(body, exchange=exchange, key=key, **properties)
    bench.enqueue("snooze_once", diary=bench.diary)
    worker.wait("job-settled", count=2, outcome="succeeded", attempt=1)
    assert len(bench.lines()) == 2
    # Only the first start of the job that snoozed counts.
    assert "longshore_job_wait_seconds_count 1.0\n" in worker.get("/metrics")[1]


def test_a_job_that_outlives_its_limit_is_tried_again(bench: Bench) -> None:
    worker = bench.started(hard_limit="500ms")
    bench.enqueue("overrun", diary=bench.diary)
    properties, _ = bench.dead()
    assert [line.split()[0] for line in bench.lines()] == ["1", "2"]
    assert properties.headers[DEAD_REASON] == "hard-limit"
    assert (
        "time.sleep" in properties.headers[TRACEBACK] or "overrun" in properties.headers[TRACEBACK]
    )
    assert worker.events("job-settled", outcome="retried", death="hard-limit")


def test_sys_exit_is_a_failure_like_any_other(bench: Bench) -> None:
    bench.started()
    bench.enqueue("leave")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "max-attempts"
    assert properties.headers[ERROR] == "SystemExit: 3"


def test_the_soft_limit_can_be_caught(bench: Bench) -> None:
    worker = bench.started(soft_limit="300ms")
    bench.enqueue("tidy_at_soft_limit", diary=bench.diary)
    ended = worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["tidied"]
    # The limit runs from the hand-over, the job's own clock from its start in the child; without
    # the limit it would sleep for a minute.
    assert 0.2 <= ended["seconds"] < 5.0


def test_the_soft_limit_cancels_the_task_of_an_async_handler(bench: Bench) -> None:
    worker = bench.started(soft_limit="300ms", retry={"max_attempts": 1})
    bench.enqueue("sleep_async", diary=bench.diary, seconds=60)
    properties, _ = bench.dead()
    assert bench.lines() == ["start 1", "cancelled"]
    assert properties.headers[ERROR].startswith("SoftTimeLimit")
    bench.enqueue("sleep_async", diary=bench.diary, seconds=0)
    worker.wait("job-settled", outcome="succeeded")


def test_an_async_handler_behind_a_plain_decorator_runs_before_it_succeeds(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("sleep_async_in_disguise", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["woke 1"]


def test_a_pool_that_jobs_share_keeps_its_own_processes(bench: Bench) -> None:
    worker = bench.started()
    for _ in range(20):
        bench.enqueue("compute_in_a_pool")
    worker.wait("job-settled", count=20, outcome="succeeded")


def test_an_expired_job_is_dead_and_does_not_run(bench: Bench) -> None:
    bench.started()
    bench.publish(
        json.dumps({"diary": bench.diary}).encode(),
        type="write",
        content_type="application/json",
        headers={EXPIRES_AT: 1000},
    )
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "expired"
    assert bench.lines() == []


def test_a_job_needs_nothing_but_the_wire_format(bench: Bench) -> None:
    worker = bench.started()
    body = json.dumps({"diary": bench.diary, "text": "plain"}).encode()
    bench.publish(body, type="write", content_type="application/json")
    ended = worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["plain 1"]
    assert ended["job"]


def test_jobs_of_one_id_are_as_many_jobs(bench: Bench) -> None:
    """A message whose confirm was lost is stored once more, and a producer may give any id."""
    worker = bench.started(slots=2, prefetch=8)
    for number in range(6):
        body = json.dumps({"diary": bench.diary, "text": str(number)}).encode()
        bench.publish(body, type="write", content_type="application/json", message_id="one")
    worker.wait("job-settled", outcome="succeeded", job="one", count=6)
    assert sorted(bench.lines()) == [f"{number} 1" for number in range(6)]
    assert worker.stop() == 0
    assert bench.is_empty()


def test_json_is_json_however_its_media_type_is_spelt(bench: Bench) -> None:
    worker = bench.started()
    body = json.dumps({"diary": bench.diary, "text": "plain"}).encode()
    spellings = (
        *("application/json; charset=utf-8", 'application/json;charset="UTF-8"'),
        *("Application/JSON", "application/json;"),
    )
    for spelling in spellings:
        bench.publish(body, type="write", content_type=spelling)
    bench.publish(body, type="write", content_type="application/json; charset=latin-1")
    properties, _ = bench.dead()
    worker.wait("job-settled", outcome="succeeded", count=len(spellings))
    assert "in UTF-8, not in another charset" in properties.headers[ERROR]


def test_progress_is_told_but_not_at_every_step(bench: Bench) -> None:
    worker = bench.started()
    job = bench.enqueue("steps", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    told = [event["value"]["step"] for event in worker.events("job-progressed", job=job)]
    assert told[0] == 0
    assert told == sorted(told)
    assert len(told) < 20


def test_output_is_logged_with_its_job(bench: Bench) -> None:
    worker = bench.started()
    job = bench.enqueue("speak")
    worker.wait("job-settled", outcome="succeeded")
    said = [
        event["line"]
        for event in worker.events("output-written", job=job, handler="speak", attempt=1)
    ]
    assert sorted(said) == ["from Python", "from a descriptor", "from a shell"]


def test_a_delay_that_is_none_fails_the_job_and_holds_up_no_other(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("retry_oddly")
    bench.enqueue("write", diary=bench.diary)
    properties, _ = bench.dead()
    assert "'30' is not a duration" in properties.headers[ERROR]
    worker.wait("job-settled", handler="write", outcome="succeeded")


def test_a_job_that_fills_an_output_that_does_not_wait_is_done_and_so_is_the_next(
    bench: Bench,
) -> None:
    worker = bench.started()
    for _ in range(5):
        bench.enqueue("fill_the_output")
        bench.enqueue("say_much")
    worker.wait("job-settled", outcome="succeeded", count=10)
    assert not worker.events("job-settled", outcome="retried")
