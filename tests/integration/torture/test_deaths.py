"""Death of children, of whole pods, and of what they leave behind."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from longshore.contract.message import ATTEMPT, DEAD_REASON, ERROR, TRACEBACK
from longshore.worker.parent.children.output import MAX_PER_JOB
from tests.integration.worker.workers import Bench, Worker, is_alive, wait_for

pytestmark = pytest.mark.integration

MEGABYTE = 1024 * 1024


def test_a_job_that_is_killed_over_and_over_ends_dead(bench: Bench) -> None:
    """Case 16. SIGKILL, as the kernel does it: acked and lost, or run again without end."""
    worker = bench.started()
    bench.enqueue("kill_itself", diary=bench.diary)
    properties, _ = bench.dead()
    assert bench.lines() == ["1", "2"]
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert "SIGKILL" in properties.headers[ERROR]
    _works(bench, worker)


def test_a_job_past_its_memory_limit_is_killed_without_grace(bench: Bench) -> None:
    """Case 16. Out of memory: we end the job before the kernel ends the container."""
    bench.started(memory_limit_per_job=150 * MEGABYTE, kill_grace="1m")
    bench.enqueue("eat", megabytes=300)
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "memory-limit"


def test_a_segfault_is_an_attempt_and_names_its_signal(bench: Bench) -> None:
    """Case 17. A segfault: the whole worker exits over it, or the job runs again without end."""
    worker = bench.started()
    job = bench.enqueue("segfault", diary=bench.diary)
    properties, _ = bench.dead()
    assert bench.lines() == ["1", "2"]
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert "SIGSEGV" in properties.headers[ERROR]
    assert "Segmentation fault" in properties.headers[TRACEBACK]
    said = [event["line"] for event in worker.events("output-written", job=job)]
    assert any("Segmentation fault" in line for line in said)


def test_a_child_that_exits_is_replaced_and_its_job_charged(bench: Bench) -> None:
    """Beside case 17: `os._exit(0)`, which looks like a good end and is none."""
    worker = bench.started()
    bench.enqueue("exit_at_once", diary=bench.diary)
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert "exited with code 0" in properties.headers[ERROR]
    _works(bench, worker)


@pytest.mark.parametrize("size", [60_000, 2 * MEGABYTE], ids=["inline", "apart"])
def test_large_jobs_to_dying_children_block_nothing_and_use_up_nothing(
    bench: Bench, size: int
) -> None:
    """Case 20. A pipe to a child that dies blocks its parent; a permit is never given back."""
    worker = bench.started(slots=2, prefetch=8)
    before = worker.descriptors()
    for _ in range(12):
        bench.enqueue("die_with", data="x" * size)
    worker.wait("job-settled", count=12, outcome="dead")
    for _ in range(4):
        bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", count=4, outcome="succeeded")
    wait_for(lambda: worker.descriptors() == before, why=worker.descriptors)
    assert worker.get("/healthz")[0] == 200
    assert worker.stop() == 0
    assert bench.is_empty()


def test_nothing_of_a_killed_attempt_keeps_a_lock_from_the_next(bench: Bench) -> None:
    """Case 27. A lock outlives the hard kill of its holder, and the job never runs again.

    There is no lock of ours. A job's own, which even a process in another session holds, is free
    before the next attempt, since nothing of the one before is alive by then.
    """
    worker = bench.started(hard_limit="1s", retry={"initial_delay": 0.0, "max_attempts": 2})
    bench.enqueue("lock_and_hang", diary=bench.diary, path=str(bench.directory / "lock"))
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["locked 1", "locked 2"]


def test_a_bounded_fork_bomb_ends_with_its_job(bench: Bench) -> None:
    """A hundred processes, each in a session of its own, none of which minds SIGTERM."""
    worker = bench.started(hard_limit="3s")
    bench.enqueue("bomb", diary=bench.diary, most=100)
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "hard-limit"
    pids = [int(line) for line in bench.lines()]
    assert len(set(pids)) == 100
    assert not [pid for pid in pids if is_alive(pid)]
    _works(bench, worker)


def test_a_process_that_keeps_the_output_open_holds_nobody_up(bench: Bench) -> None:
    """Its job ends when the handler does, and the worker does not wait for it either."""
    worker = bench.started()
    bench.enqueue("leave_a_reader", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    _works(bench, worker, handler="nothing")
    assert is_alive(int(bench.lines()[0]))
    assert worker.stop() == 0
    assert not is_alive(int(bench.lines()[0]))


def test_a_process_that_keeps_the_output_open_does_not_outlive_a_death(bench: Bench) -> None:
    """The child dies, what it has left behind holds its pipe: both are gone before the verdict."""
    worker = bench.started()
    bench.enqueue("die_and_leave_a_reader", diary=bench.diary)
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert not is_alive(int(bench.lines()[0]))
    _works(bench, worker)


def test_a_gibibyte_of_output_costs_neither_memory_nor_log(bench: Bench) -> None:
    """The job ends well; a bounded part of what it writes is logged and the rest is counted."""
    worker = bench.started(hard_limit="2m")
    _works(bench, worker)
    before = worker.memory("VmHWM")
    job = bench.enqueue("flood", megabytes=1024)
    worker.wait("job-settled", job=job, outcome="succeeded", deadline=120)
    dropped = worker.wait("output-dropped", job=job)["bytes"]
    assert worker.memory("VmHWM") - before < 16 * MEGABYTE
    assert 1024 * MEGABYTE - 2 * MAX_PER_JOB < dropped < 1024 * MEGABYTE
    assert worker.stdout.stat().st_size < 2 * MEGABYTE
    _works(bench, worker)


def test_a_flood_of_empty_lines_holds_up_no_limit_and_no_probe(bench: Bench) -> None:
    """Each of them is a line of the log, some 170 bytes of JSON."""
    (bench.directory / "limited.py").write_text(
        "import time\n"
        "from longshore import handler\n"
        "@handler(max_attempts=1, hard_limit=2)\n"
        "def outlive_two_seconds(): time.sleep(60)\n"
    )
    bench.modules.append("limited")
    worker = bench.started(slots=4, prefetch=4)
    late = bench.enqueue("outlive_two_seconds")
    for _ in range(3):
        bench.enqueue("write_empty_lines", count=256 * 1024)
    answers = []
    while not worker.events("job-settled", job=late):
        asked = time.monotonic()
        assert worker.get("/healthz")[0] == 200
        answers.append(time.monotonic() - asked)
    assert worker.events("job-settled", job=late)[0]["seconds"] < 5
    assert max(answers) < 2


def test_a_job_that_kills_its_whole_pod_ends_dead(bench: Bench) -> None:
    """Each pod that it takes along is an attempt: parent, zygote and child die by SIGKILL."""
    bench.enqueue("kill_the_pod", diary=bench.diary)
    for _ in range(2):
        assert bench.start().exit_code() == -signal.SIGKILL
    worker = bench.started()
    properties, _ = bench.dead()
    assert bench.lines() == ["1", "2"]
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert properties.headers[ATTEMPT] == 3
    _works(bench, worker)


def _works(bench: Bench, worker: Worker, *, handler: str = "write") -> None:
    """It does another job."""
    arguments: dict[str, Any] = {} if handler == "nothing" else {"diary": f"{bench.diary}-other"}
    job = bench.enqueue(handler, **arguments)
    worker.wait("job-settled", job=job, outcome="succeeded")
