"""Jobs handed ahead and read past pika: quick, and every promise kept."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections import Counter
from collections.abc import Sequence

import pika
import pytest

from longshore.contract.message import DEAD_REASON, ERROR, UNDECODABLE_HEADERS
from longshore.contract.names import JOBS_EXCHANGE
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration

DIRECT = (sys.executable, "-m", "longshore.worker")
PUBLIC = (
    sys.executable,
    "-c",
    "import pika, sys; pika.__version__ = '1.5.0'; from longshore.worker.__main__ import main;"
    "sys.exit(main())",
)
"""The same worker with a pika it does not know: by its public interface alone."""


@pytest.mark.parametrize("command", [DIRECT, PUBLIC], ids=["direct", "public"])
def test_short_jobs_are_each_done_once(bench: Bench, command: Sequence[str]) -> None:
    worker = bench.start(command=command, slots=2, prefetch=32)
    jobs = [bench.enqueue("write", diary=bench.diary, text=str(n)) for n in range(600)]
    jobs.append(bench.enqueue("measure", diary=bench.diary, data="x" * 300_000))
    worker.wait("job-settled", count=len(jobs), outcome="succeeded")
    assert Counter(bench.lines()) == Counter([*(f"{n} 1" for n in range(600)), "300000"])
    told = [line["job"] for line in worker.events("job-settled", outcome="succeeded")]
    assert sorted(told) == sorted(jobs)
    assert worker.stop() == 0
    assert bench.is_empty()
    assert len(worker.events("consumer-started")) == 1


@pytest.mark.parametrize("command", [DIRECT, PUBLIC], ids=["direct", "public"])
def test_a_full_worker_drains_without_loss(bench: Bench, command: Sequence[str]) -> None:
    worker = bench.start(command=command, slots=2, prefetch=64)
    for number in range(400):
        bench.enqueue("write", diary=bench.diary, text=str(number))
    bench.wait_lines(50)
    assert worker.stop() == 0
    second = bench.started(slots=2, prefetch=64)
    wait_for(lambda: len(bench.lines()) >= 400 and bench.is_empty())
    assert second.stop() == 0
    assert Counter(bench.lines()) == Counter(f"{n} 1" for n in range(400))


def test_what_short_jobs_print_is_charged_to_them(bench: Bench) -> None:
    worker = bench.started(slots=2, prefetch=32)
    jobs = {bench.enqueue("say", text=f"line {n}"): f"line {n}" for n in range(300)}
    worker.wait("job-settled", count=300, outcome="succeeded")
    assert {line["job"]: line["line"] for line in worker.events("output-written")} == jobs
    assert len(worker.events("output-written")) == 300


def test_quick_jobs_do_not_wait_behind_a_long_one(bench: Bench) -> None:
    worker = bench.started(slots=2, prefetch=32)
    for _ in range(50):
        bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", count=50, outcome="succeeded")
    bench.enqueue("sleep", diary=bench.diary, seconds=8)
    for _ in range(25):
        bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", count=75, outcome="succeeded", handler="write", deadline=7)
    assert not worker.events("job-settled", handler="sleep")
    worker.wait("job-settled", handler="sleep", outcome="succeeded")
    assert worker.stop() == 0


def test_prefetch_grows_with_short_jobs_and_falls_when_long_ones_hold_them_up(
    bench: Bench,
) -> None:
    first = bench.started(slots=1, prefetch="auto")
    for _ in range(3000):
        bench.enqueue("nothing")
    # How far depends on how long no-ops take on this machine, and on the hard limit.
    wait_for(lambda: any(event["prefetch"] > 1 for event in first.events("consumer-started")))
    wait_for(bench.is_empty)
    second = bench.started(slots=1, prefetch="auto")
    # Whoever gets it takes what is behind it too, and cannot begin any of that.
    bench.enqueue("sleep", diary=bench.diary, seconds=8)
    bench.wait_lines(1)
    for number in range(60):
        bench.enqueue("write", diary=bench.diary, text=str(number))
    wait_for(lambda: len(bench.lines()) >= 61, deadline=7)
    assert "end 1" not in bench.lines()
    assert sorted(bench.lines()[1:]) == sorted(f"{number} 1" for number in range(60))
    wait_for(lambda: "end 1" in bench.lines())
    # And with its slot free it consumes again.
    holder = first if first.events("job-settled", handler="sleep") else second
    other = second if holder is first else first
    assert other.stop() == 0
    last = bench.enqueue("write", diary=bench.diary)
    holder.wait("job-settled", job=last, outcome="succeeded", attempt=1)
    assert holder.stop() == 0
    assert bench.is_empty()


# RabbitMQ itself refuses a NaN and an infinity: it closes the producer's connection over them.
@pytest.mark.parametrize("size", [0, 90_000])
def test_headers_that_cannot_be_read_are_dead_and_disturb_nobody(bench: Bench, size: int) -> None:
    value = b"T" + struct.pack(">Q", 2**40)  # a date long after the year 9999
    blob = os.urandom(size)
    worker = bench.started(slots=1, prefetch=4)
    bench.broker.channel.basic_publish(
        JOBS_EXCHANGE,
        bench.queue,
        b'{"a": 1}',
        _Raw(value, blob, type="write", content_type="application/json", message_id="m-1"),
    )
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    properties, body = bench.dead()
    assert (body, properties.message_id, properties.type) == (b'{"a": 1}', "m-1", "write")
    assert properties.headers[DEAD_REASON] == "undecodable"
    assert "headers cannot be read" in properties.headers[ERROR]
    assert value in properties.headers[UNDECODABLE_HEADERS]
    assert blob in properties.headers[UNDECODABLE_HEADERS]
    assert not worker.events("consumer-lost")


def test_a_classic_queue_is_consumed_without_an_ack_timeout(bench: Bench) -> None:
    bench.broker.channel.queue_delete(bench.queue)
    bench.broker.channel.queue_declare(bench.queue, durable=True)
    bench.broker.channel.queue_bind(bench.queue, JOBS_EXCHANGE, bench.queue)
    worker = bench.started()
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")


class _Raw(pika.BasicProperties):  # type: ignore[misc]  # pika ships no types
    """Properties with one header whose value is these nine bytes, and one with `blob`."""

    _PLACEHOLDER = 2**62 + 12345

    def __init__(self, value: bytes, blob: bytes, **properties: object) -> None:
        headers = {"theirs": self._PLACEHOLDER, "blob": blob}
        super().__init__(headers=headers, **properties)
        self._value = value

    def encode(self) -> list[bytes]:
        encoded = b"".join(super().encode())
        return [encoded.replace(b"l" + struct.pack(">q", self._PLACEHOLDER), self._value)]


@pytest.mark.parametrize(("seconds", "jobs"), [(0.0, 3000), (0.1, 60)], ids=["short", "long"])
def test_urgent_jobs_wait_for_few_of_those_that_a_worker_has_fetched(
    bench: Bench, seconds: float, jobs: int
) -> None:
    worker = bench.start(slots=1, prefetch="auto")
    for _ in range(jobs):
        bench.enqueue("write", diary=bench.diary, text="usual", seconds=seconds)
    begun = len(bench.wait_lines(jobs // 6))

    body = json.dumps({"diary": bench.diary, "text": "urgent", "seconds": seconds}).encode()
    for _ in range(5):
        bench.publish(body, type="write", content_type="application/json", priority=9)

    wait_for(lambda: bench.lines().count("urgent 1") == 5, why=worker.text)
    lines = bench.lines()
    last = len(lines) - lines[::-1].index("urgent 1")
    # RabbitMQ 4.0 gives two urgent jobs to a usual one.
    assert lines[begun:last].count("usual 1") < jobs / 5
    assert worker.stop() == 0
