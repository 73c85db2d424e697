"""What is published, by workers and by clients, when the broker will not have it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from longshore import Client, QueueNotFound
from longshore.contract.message import DEAD_REASON
from tests.integration import topology
from tests.integration.relay import Relay
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration


def test_five_delayed_attempts_come_and_none_vanishes(bench: Bench) -> None:
    """Case 10. A republished `x-death` looks like a dead-letter cycle, and RabbitMQ drops the job.

    Each attempt goes through the broker's dead-lettering (the ladder), and starts without traces.
    """
    retry = {"initial_delay": 1.0, "factor": 1.0, "jitter": 0.0, "defer_for": 0.0}
    worker = bench.started(retry=retry)
    bench.enqueue("fail_four_times", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["1", "2", "3", "4", "5"]
    bench.publish(
        b'{"text": "a traveller"}',
        type="discard",
        content_type="application/json",
        headers={"x-death": [{"queue": bench.queue, "count": 9}], "mine": 1},
    )
    headers = bench.dead()[0].headers
    assert "x-death" not in headers
    assert headers["mine"] == 1


def test_a_dead_letter_waits_for_its_queue_and_is_not_acked_before(bench: Bench) -> None:
    """Case 22. Published without confirm and `mandatory`, what no queue takes is lost."""
    channel = bench.broker.channel
    channel.queue_delete(f"{bench.queue}.dead")
    worker = bench.started()
    bench.enqueue("discard")
    worker.wait("publish-failed")
    assert not worker.events("job-settled")
    topology.declare_queue(channel, bench.queue)
    assert bench.dead()[0].headers[DEAD_REASON] == "discarded"
    worker.wait("job-settled", outcome="dead")


def test_an_outcome_without_confirm_is_published_again(bench: Bench, relay: Relay) -> None:
    """Case 22. A publisher that hangs before its confirm hangs for ever.

    Its connection is given up for silence. The job's own delivery is void by then, so it runs once
    more; its first dead letter was stored without our hearing of it, hence at least once.
    """
    path = bench.directory / "go"
    worker = bench.started(heartbeat="1s")
    bench.enqueue("wait_for_file", diary=bench.diary, path=str(path), discards=True)
    bench.wait_lines(1)
    relay.stop_answers()
    path.touch()
    bench.wait_lines(2)
    worker.wait("publisher-lost", deadline=30)
    worker.wait("job-settled", outcome="dead", deadline=30)
    assert [event["outcome"] for event in worker.events("job-settled")] == ["void", "dead"]
    assert bench.dead()[0].headers[DEAD_REASON] == "discarded"
    assert worker.stop() == 0
    assert bench.is_empty()


def test_a_blocked_broker_loses_nothing_and_still_gets_acks(own_bench: Bench) -> None:
    """Case 22. Short of memory, a broker reads nothing from whoever publishes, acks included.

    We publish over another connection than we consume: acks pass, what is to be published waits.
    """
    bench = own_bench
    path = bench.directory / "go"
    worker = bench.started(slots=2, prefetch=2)
    bench.enqueue("wait_for_file", diary=bench.diary, path=str(path), discards=True)
    bench.enqueue("wait_for_file", diary=bench.diary, path=str(path))
    bench.wait_lines(2)
    with _alarm(bench, seconds=5):
        path.touch()
        blocked = worker.wait("connection-blocked")
        assert "memory" in blocked["reason"]
    worker.wait("job-settled", outcome="dead")
    assert "longshore_publish_blocked 0.0" in worker.get("/metrics")[1]
    assert bench.dead()[0].headers[DEAD_REASON] == "discarded"
    told = [(line["event"], line.get("outcome")) for line in worker.log()]
    assert told.index(("connection-blocked", None)) < told.index(("job-settled", "dead"))
    assert told.index(("job-settled", "succeeded")) < told.index(("job-settled", "dead"))
    assert not worker.events("consumer-lost")
    assert sorted(bench.lines()) == ["end 1"] * 2 + ["start 1"] * 2
    assert worker.stop() == 0
    assert bench.is_empty()


def test_an_idle_producers_next_job_arrives_and_one_for_nobody_is_refused(bench: Bench) -> None:
    """Case 23. The broker closes a connection that was idle, and the next job is lost unseen;
    without `mandatory`, so is one that no queue takes.

    The same for a worker's own publications after an idle time.
    """
    worker = bench.started()
    with Client(bench.broker.amqp) as client:
        client.enqueue(bench.queue, "write", diary=bench.diary, text="before")
        worker.wait("job-settled", outcome="succeeded")
        bench.broker.close_all_connections()
        client.enqueue(bench.queue, "write", diary=bench.diary, text="after")
        worker.wait("job-settled", count=2, outcome="succeeded")
        assert bench.lines() == ["before 1", "after 1"]
        with pytest.raises(QueueNotFound):
            client.enqueue(f"{bench.queue}-other", "write", diary=bench.diary)
        client.enqueue(bench.queue, "discard")
        worker.wait("job-settled", outcome="dead")
    assert worker.stop() == 0


def test_two_workers_run_no_delayed_job_or_retry_twice(bench: Bench) -> None:
    """Case 25. Two schedulers enqueue each due job twice.

    Nobody here watches for due jobs: the broker lets them go, one by one, each to one worker.
    """
    workers = [
        bench.started(slots=2, prefetch=4, retry={"initial_delay": 1.0, "jitter": 0.0})
        for _ in range(2)
    ]
    with Client(bench.broker.amqp) as client:
        for number in range(50):
            client.enqueue(
                bench.queue, "fail.twice", diary=f"{bench.diary}-{number}", delay=1 + number % 2
            )
    done = wait_for(lambda: (n := _count(workers, "succeeded")) >= 50 and n, deadline=30)
    assert done == 50
    assert _count(workers, "retried") == 100
    for number in range(50):
        lines = (bench.directory / f"diary-{number}").read_text().splitlines()
        assert Counter(line.split()[0] for line in lines) == {"1": 1, "2": 1, "3": 1}
    assert [worker.stop() for worker in workers] == [0, 0]
    assert bench.is_empty()


def _count(workers: list[Worker], outcome: str) -> int:
    return sum(len(worker.events("job-settled", outcome=outcome)) for worker in workers)


@contextlib.contextmanager
def _alarm(bench: Bench, *, seconds: float) -> Iterator[None]:
    """A memory alarm that the broker itself ends, whatever becomes of this test."""
    resource = "{resource_limit, memory, node()}"
    # An alarm that is set by hand, since a watermark that is crossed in earnest takes its time.
    bench.broker.rabbitmqctl(
        "eval",
        f"timer:apply_after({round(seconds * 1000)}, rabbit_alarm, clear_alarm, [{resource}]),"
        f"rabbit_alarm:set_alarm({{{resource}, []}}).",
    )
    try:
        yield
    finally:
        wait_for(lambda: not _has_alarm(bench))


def _has_alarm(bench: Bench) -> bool:
    split = urlsplit(bench.broker.amqp)
    auth = (split.username or "", split.password or "")
    url = f"{bench.broker.management}/api/health/checks/alarms"
    return httpx.get(url, auth=auth, timeout=30).status_code == 503
