"""Time: delays, the broker's ack timeout and our own limits, each longer than the next."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from longshore.contract.delays import route
from longshore.contract.message import DEAD_REASON, ERROR
from longshore.worker.parent.jobs.outcome import Outcome
from tests.integration.worker.workers import Bench, is_alive, wait_for

pytestmark = pytest.mark.integration


def test_a_delay_longer_than_the_ack_timeout_is_held_by_the_broker(bench: Bench) -> None:
    """Case 1. A worker that holds a delayed job unacked loses its channel over it; some exit.

    Here the ladder holds it, both before its first attempt and before its second.
    """
    with bench.broker.ack_timeout(bench.queue, seconds=2):
        worker = bench.started(ack_timeout="2s", retry={"initial_delay": 3.0, "jitter": 0.0})
        _enqueue_later(bench, "show_headers", seconds=3, diary=bench.diary)
        worker.wait("job-settled", outcome="retried")
        assert "longshore_busy_slots 0.0" in worker.get("/metrics")[1]
        worker.wait("job-settled", outcome="succeeded")
    assert [line.split()[0] for line in bench.lines()] == ["1", "2"]
    assert not worker.events("consumer-lost")
    assert worker.stop() == 0
    assert bench.is_empty()


def test_a_late_acked_job_that_outlives_the_ack_timeout_is_told_and_done_once_more(
    bench: Bench,
) -> None:
    """Case 2. Elsewhere the job is done, its ack fails, the worker exits and the job is back.

    Our ack timeout is always longer than the hard limit; here a broker takes the job all the same.
    """
    with bench.broker.ack_timeout(bench.queue, seconds=2):
        worker = bench.started(ack_timeout="2s")
        bench.enqueue("lose_first_time", diary=bench.diary)
        worker.wait("job-settled", outcome="succeeded")
    # Before 4.3 the broker counts it as a delivery that ended badly.
    second = 1 if bench.broker.series == "4.3" else 2
    assert bench.lines() == [
        "start 1",
        "DeliveryLost lost=True",
        f"start {second}",
        f"end {second}",
    ]
    assert worker.stop() == 0
    assert bench.is_empty()


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param("ignore_the_loss", id="case 3"),
        pytest.param("ignore_the_loss_async", id="case 4"),
    ],
)
def test_a_job_that_finishes_after_its_delivery_is_lost_acks_nothing_and_its_successor_does(
    bench: Bench, handler: str
) -> None:
    """Cases 3 and 4. Acks with the tag of a channel that is gone: endless runs, none ever acked.

    The first is a plain function, the second a coroutine whose ack meets a closed channel.
    """
    with bench.broker.ack_timeout(bench.queue, seconds=2):
        worker = bench.started(ack_timeout="2s")
        bench.enqueue(handler, diary=bench.diary, seconds=4)
        worker.wait("job-settled", outcome="succeeded")
    second = 1 if bench.broker.series == "4.3" else 2
    assert bench.lines() == [
        "start 1",
        "end 1 lost=True",
        f"start {second}",
        f"end {second} lost=False",
    ]
    assert Counter(event["outcome"] for event in worker.events("job-settled")) == {
        Outcome.VOID: 1,
        Outcome.SUCCEEDED: 1,
    }
    assert worker.stop() == 0
    assert bench.is_empty()


def test_long_jobs_in_a_row_never_wait_into_the_ack_timeout(bench: Bench) -> None:
    """Case 5. Long jobs prefetched behind each other: seven starts, no completion.

    A worker holds as many long jobs as it runs, so each has the whole ack timeout for itself.
    """
    with bench.broker.ack_timeout(bench.queue, seconds=4):
        worker = bench.started(ack_timeout="4s", hard_limit="3s", prefetch="auto")
        for _ in range(3):
            bench.enqueue("sleep", diary=bench.diary, seconds=2)
        worker.wait("job-settled", count=3, outcome="succeeded")
    assert bench.lines() == ["start 1", "end 1"] * 3
    assert not worker.events("consumer-lost")


def test_delayed_jobs_take_no_room_in_the_prefetch(bench: Bench) -> None:
    """Case 8. Jobs for later fill the prefetch, and jobs for now wait behind them."""
    for _ in range(20):
        _enqueue_later(bench, "write", seconds=3600, diary=bench.diary)
    worker = bench.started(prefetch=2)
    bench.enqueue("write", diary=bench.diary, text="now")
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["now 1"]
    assert worker.stop() == 0
    assert worker.events("worker-draining")[0]["held"] == 0


def test_a_call_into_c_that_holds_the_gil_ends_at_its_hard_limit(bench: Bench) -> None:
    """Case 18. A 2 s limit on a blocking call was kept after 15 s: exceptions need bytecode.

    Nothing in the process runs while the call does, not even another thread; the parent kills it.
    """
    worker = bench.started(hard_limit="1s", soft_limit="500ms")
    began = time.monotonic()
    bench.enqueue("hold_the_gil", diary=bench.diary)
    properties, _ = bench.dead()
    assert time.monotonic() - began < 15
    assert properties.headers[DEAD_REASON] == "hard-limit"
    ticks, held = bench.lines()[:-1], bench.lines()[-1]
    assert set(ticks) == {"tick"}
    assert held.startswith("held ")
    assert not is_alive(int(held.split()[1]))
    assert 'longshore_kills_total{cause="hard-limit"} 1.0' in worker.get("/metrics")[1]


def test_except_exception_does_not_swallow_the_soft_limit(bench: Bench) -> None:
    """Case 19. A soft limit that is an Exception is swallowed, and the job counts as done."""
    bench.started(soft_limit="300ms")
    bench.enqueue("catch_all_exceptions", diary=bench.diary)
    properties, _ = bench.dead()
    assert bench.lines() == []
    assert properties.headers[ERROR].startswith("SoftTimeLimit")


def test_whoever_swallows_the_soft_limit_ends_at_the_hard_one(bench: Bench) -> None:
    """Case 19, the other half: caught on purpose, it gives no more time than there was."""
    bench.started(soft_limit="300ms", hard_limit="1s")
    bench.enqueue("catch_the_limit_and_go_on", diary=bench.diary)
    properties, _ = bench.dead()
    assert bench.lines() == ["told"]
    assert properties.headers[DEAD_REASON] == "hard-limit"


def test_the_next_attempt_has_a_delay_of_its_own_and_users_headers_mean_nothing(
    bench: Bench,
) -> None:
    """Case 28. A retry repeats the delay that the job was enqueued with, or obeys a user's label.

    A delay is where a job is published, not what it carries: nothing of it is left on arrival.
    """
    worker = bench.started()
    began = time.time()
    _enqueue_later(bench, "show_headers", seconds=3, headers={"delay": 600}, diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    first, second = (line.split(" ", 2) for line in bench.lines())
    assert first[2] == second[2] == "{'delay': 600}"
    assert float(first[1]) - began >= 3
    retried = worker.events("job-settled", outcome="retried")[0]
    assert retried["delay"] == 1.0
    assert float(second[1]) - float(first[1]) >= 1


def _enqueue_later(
    bench: Bench, handler: str, *, seconds: float, headers: object = None, **arguments: object
) -> None:
    exchange, key = route(bench.queue, delay=seconds)
    bench.publish(
        json.dumps(arguments).encode(),
        exchange=exchange,
        key=key,
        type=handler,
        content_type="application/json",
        headers=headers,
    )
    wait_for(lambda: bench.ready() == 0)
