"""The end of a worker: nothing lost, nothing charged, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from longshore.contract.names import JOBS_EXCHANGE
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration


def test_a_drain_finishes_the_running_job(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("sleep", diary=bench.diary, seconds=2)
    bench.wait_lines(1)
    assert worker.stop() == 0
    assert bench.lines() == ["start 1", "end 1"]
    assert worker.events("job-settled", outcome="succeeded")
    assert bench.is_empty()


def test_a_drain_gives_back_what_has_not_begun_uncharged(bench: Bench) -> None:
    worker = bench.started(slots=1, prefetch=3)
    for _ in range(3):
        bench.enqueue("sleep", diary=bench.diary, seconds=1)
    bench.wait_lines(1)
    wait_for(lambda: bench.ready() == 0)
    assert worker.stop() == 0
    assert bench.lines() == ["start 1", "end 1"]
    assert len(worker.events("job-settled", outcome="returned")) == 2
    assert bench.ready() == 2
    second = bench.started(slots=2, prefetch=2)
    second.wait("job-settled", count=2, outcome="succeeded")
    assert sorted(bench.lines()) == ["end 1"] * 3 + ["start 1"] * 3


def test_a_drain_leaves_the_jobs_of_a_classic_queue_as_they_are(bench: Bench) -> None:
    """No copy is published, of which a worker that is killed in the drain could leave a second."""
    channel = bench.broker.channel
    channel.queue_delete(bench.queue)
    channel.queue_declare(bench.queue, durable=True)
    channel.queue_bind(bench.queue, JOBS_EXCHANGE, bench.queue)
    worker = bench.started(slots=1, prefetch=3, queue_type="Classic")
    for _ in range(3):
        bench.enqueue("sleep", diary=bench.diary, seconds=1)
    bench.wait_lines(1)
    wait_for(lambda: bench.ready() == 0)
    assert worker.stop() == 0
    assert len(worker.events("job-settled", outcome="returned")) == 2
    for _ in range(2):
        method, _properties, _body = channel.basic_get(bench.queue, True)
        assert method is not None
        assert method.redelivered, "it is the job that was sent"
    assert bench.is_empty()


def test_with_requeue_a_running_job_is_interrupted_and_given_back_uncharged(bench: Bench) -> None:
    worker = bench.started(on_termination="Requeue")
    bench.enqueue("lose_first_time", diary=bench.diary)
    bench.wait_lines(1)
    assert worker.stop() == 0
    assert bench.lines() == ["start 1", "Draining lost=False"]
    second = bench.started()
    second.wait("job-settled", outcome="succeeded")
    assert bench.lines()[2:] == ["start 1", "end 1"]


def test_a_second_sigterm_kills(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("sleep", diary=bench.diary, seconds=60)
    bench.wait_lines(1)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait("worker-draining")
    began = time.monotonic()
    assert worker.stop() == 143
    assert time.monotonic() - began < 20
    wait_for(lambda: bench.ready() == 1)
    # It was dead before the broker could give it to another worker, so nobody is charged.
    assert worker.events("job-settled", outcome="returned")
    second = bench.started()
    assert bench.wait_lines(2)[1] == "start 1"
    second.stop(number=signal.SIGKILL)


def test_a_second_sigterm_right_after_the_first_charges_nobody(bench: Bench) -> None:
    # The consumer is still being cancelled: what is given back too early comes straight back.
    worker = bench.started(prefetch=4)
    for _ in range(4):
        bench.enqueue("sleep", diary=bench.diary, seconds=60)
    bench.wait_lines(1)
    wait_for(lambda: bench.ready() == 0)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait("worker-draining")
    assert worker.stop() == 143
    wait_for(lambda: bench.ready() == 4)
    for _ in range(4):
        headers = bench.broker.channel.basic_get(bench.queue, auto_ack=True)[1].headers or {}
        assert headers.get("longshore-attempt", 1) + headers.get("x-delivery-count", 0) == 1


def test_an_idle_worker_ends_at_once(bench: Bench) -> None:
    worker = bench.started(slots=4, prefetch=4)
    began = time.monotonic()
    assert worker.stop(number=signal.SIGINT) == 0
    assert time.monotonic() - began < 10


def test_children_are_replaced_after_so_many_jobs(bench: Bench) -> None:
    worker = bench.started(max_jobs_per_child=2)
    for number in range(6):
        bench.enqueue("endure", diary=bench.diary, number=number)
    worker.wait("job-settled", count=6, outcome="succeeded")
    pids = Counter(line.split()[3] for line in bench.lines() if line.split()[1] == "end")
    assert list(pids.values()) == [2, 2, 2]
    assert not worker.events("child-died-idle")
    assert worker.stop() == 0


LEAK = """
from longshore import handler, Job
from jobs import note
import os

leaked = []

@handler
def leak(job: Job, diary: str) -> None:
    leaked.append(b"x" * 50 * 1024 * 1024)
    note(diary, f"{os.getpid()} {len(leaked)} {job.attempt}")
"""


@pytest.mark.parametrize("slots", [1, 2])
def test_a_child_that_keeps_too_much_memory_is_replaced_and_nobody_is_charged(
    bench: Bench, slots: int
) -> None:
    (bench.directory / "leak.py").write_text(LEAK)
    worker = bench.started(
        handlers=["leak"], max_memory_per_child=120 * 1024 * 1024, slots=slots, prefetch=8
    )
    for _ in range(12):
        bench.enqueue("leak", diary=bench.diary)
    worker.wait("job-settled", count=12, outcome="succeeded")
    runs = [line.split() for line in bench.lines()]
    pids = Counter(pid for pid, _, _ in runs)
    replaced = {str(line["pid"]) for line in worker.events("child-outgrown")}
    assert len(pids) >= 3
    assert replaced <= set(pids)
    assert len(pids) - len(replaced) <= slots
    assert {attempt for _, _, attempt in runs} == {"1"}
    assert not worker.events("job-settled", outcome="retried")
    assert not worker.events("child-died-idle")
    assert worker.stop() == 0


def test_as_process_1_it_reaps_orphans_and_obeys_sigterm(bench: Bench) -> None:
    worker = bench.start(command=[*_as_process_1(), sys.executable, "-m", "longshore_worker"])
    worker.wait("consumer-started")
    bench.enqueue("leave_an_orphan", diary=bench.diary)
    assert wait_for(bench.lines) == ["left"]
    bench.enqueue("exit_at_once", diary=f"{bench.diary}-other")
    worker.wait("job-settled", outcome="dead")
    inner = _first_child(worker.process.pid)
    wait_for(lambda: not _orphans_and_zombies_below(inner))
    os.kill(inner, signal.SIGTERM)
    assert worker.exit_code() == 0


def test_process_1_obeys_a_sigterm_that_comes_while_it_starts(bench: Bench) -> None:
    worker = bench.start(command=[*_as_process_1(), sys.executable, "-m", "longshore_worker"])
    inner = _first_child(worker.process.pid)

    def holds_sigterm_back() -> bool:
        if Path(f"/proc/{inner}/cmdline").read_text().startswith("unshare"):
            return False  # it blocks SIGTERM for a moment too
        status = Path(f"/proc/{inner}/status").read_text()
        blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
        return bool(blocked & 1 << signal.SIGTERM - 1)

    wait_for(holds_sigterm_back)
    os.kill(inner, signal.SIGTERM)
    assert worker.exit_code() == 0


def _as_process_1() -> list[str]:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    return unshare if os.geteuid() == 0 else [*unshare, "--user", "--map-root-user"]


def _first_child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(wait_for(children.read_text).split()[0])


def _orphans_and_zombies_below(pid: int) -> list[str]:
    listing = subprocess.run(
        ["ps", "-eo", "pid,ppid,stat,comm"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(None, 3) for line in listing.splitlines()[1:]]
    below, grown = {str(pid)}, True
    while grown:
        more = {row[0] for row in rows if row[1] in below} - below
        grown = bool(more)
        below |= more
    return [
        " ".join(row)
        for row in rows
        if row[0] in below and (row[2].startswith("Z") or row[3].startswith(("sh", "sleep")))
    ]
