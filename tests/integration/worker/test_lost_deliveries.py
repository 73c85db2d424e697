"""What a lost delivery costs a job: an attempt if it had begun, nothing if it is known not to."""

from __future__ import annotations

import signal

import pika
import pytest

from longshore.contract.message import DEAD_REASON, ERROR
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration

JOBS = """
import os, signal, time
from longshore import Job, handler

@handler(max_attempts=1)
def once(number: int, seconds: float) -> None:
    print("began", number)
    try:
        time.sleep(seconds)
    except BaseException:
        print("interrupted")
        raise

@handler(max_attempts=3)
def deadly(job: Job) -> None:
    print("began", job.attempt)
    os.kill(worker(), signal.SIGKILL)
    time.sleep(30)

def worker() -> int:
    zygote = open(f"/proc/{os.getppid()}/stat").read()
    return int(zygote.rpartition(")")[2].split()[1])
"""


def serving(bench: Bench, **config: object) -> Worker:
    (bench.directory / "losing.py").write_text(JOBS)
    return bench.started(handlers=["losing"], **config)


def began(*workers: Worker) -> list[str]:
    lines = [line["line"] for worker in workers for line in worker.events("output-written")]
    return [line.removeprefix("began ") for line in lines if line.startswith("began")]


@pytest.mark.parametrize("prefetch", [8, "auto"])
def test_jobs_that_wait_in_a_worker_outlive_its_lost_connections(
    bench: Bench, prefetch: object
) -> None:
    worker = serving(bench, prefetch=prefetch)
    bench.enqueue("once", number=0, seconds=60)
    wait_for(lambda: began(worker) == ["0"])
    for number in range(1, 6):
        bench.enqueue("once", number=number, seconds=0)
    for loss in range(1, 4):
        bench.broker.close_all_connections()
        worker.wait("consumer-started", count=1 + loss)
    wait_for(lambda: sorted(began(worker)) == ["0", "1", "2", "3", "4", "5"], why=worker.text)
    wait_for(lambda: len(worker.events("job-settled", outcome="succeeded")) == 5)
    # The one that had begun is charged, and its one attempt was that.
    worker.wait(
        "job-settled",
        outcome="dead",
        reason="worker-lost",
        job=worker.events("job-settled")[0]["job"],
    )


def test_jobs_that_waited_in_a_worker_that_died_are_run_by_others(bench: Bench) -> None:
    first = serving(bench, prefetch=8)
    bench.enqueue("once", number=0, seconds=2)
    wait_for(lambda: began(first) == ["0"])
    for number in range(1, 6):
        bench.enqueue("once", number=number, seconds=0)
    wait_for(lambda: bench.ready() == 0)
    first.stop(number=signal.SIGKILL)
    second = serving(bench, prefetch=8)
    wait_for(lambda: {"1", "2", "3", "4", "5"} <= set(began(second)), why=second.text)


@pytest.mark.parametrize("outage", [True, False], ids=["outage", "no-outage"])
def test_what_others_lost_counts_unless_this_worker_lost_its_consumer_too(
    bench: Bench, *, outage: bool
) -> None:
    """RabbitMQ may give a job to one dead connection after the other, none of which starts it."""
    worker = serving(bench, slots=1, prefetch=1)
    bench.enqueue("once", number=0, seconds=60 if outage else 3)
    wait_for(lambda: began(worker) == ["0"])
    job = bench.enqueue("once", number=1, seconds=0)
    for _ in range(3):
        lose_one(bench)
    if outage:
        bench.broker.close_all_connections()

    settled = worker.wait("job-settled", job=job)

    if outage:
        assert (settled["outcome"], settled["attempt"]) == ("succeeded", 1)
    else:
        assert (settled["outcome"], settled["reason"]) == ("dead", "worker-lost")
        assert began(worker) == ["0"], "nothing tells that it had not begun elsewhere"


def lose_one(bench: Bench) -> None:
    """Take the job that waits, and die with it."""
    with pika.BlockingConnection(pika.URLParameters(bench.broker.amqp)) as connection:
        channel = connection.channel()
        wait_for(lambda: channel.basic_get(bench.queue)[0])
    wait_for(lambda: bench.ready() == 1)


def test_a_job_that_kills_its_worker_runs_out_of_attempts(bench: Bench) -> None:
    (bench.directory / "losing.py").write_text(JOBS)
    bench.enqueue("deadly")
    for _ in range(3):
        assert bench.start(handlers=["losing"]).exit_code() == -signal.SIGKILL
    last = bench.started(handlers=["losing"])
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert "all 3 attempts are used up; deliveries lost" in properties.headers[ERROR]
    assert not last.events("output-written")
