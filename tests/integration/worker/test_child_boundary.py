"""What a job does to its process harms that job alone: never the worker, nor a job beside it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from longshore.contract.message import DEAD_REASON, ERROR
from tests.integration.worker.workers import Bench, Worker

pytestmark = pytest.mark.integration

MODULE = """
import faulthandler, json, multiprocessing, os, signal, socket, struct, subprocess, time
from longshore import Job, handler

{at_import}

def ends():
    for fd in range(3, 40):
        try:
            end = socket.socket(fileno=os.dup(fd))
        except OSError:
            continue
        if end.family == socket.AF_UNIX and end.type == socket.SOCK_SEQPACKET:
            yield fd, end

ENDED = dict(kind="ended", ticket=1, status="failed", seconds=1.0)
ENDED |= dict(error=None, traceback=None, delay=None, result=None, result_omitted=None)
WORDS = dict(
    stray=b"\\x00\\x00\\x00\\x05hello",
    four_gib=b"\\xff\\xff\\xff\\xff",
    no_json=b"{{",
    wrong_type=json.dumps({{**ENDED, "ticket": "1"}}).encode(),
    wrong_status=json.dumps({{**ENDED, "status": "fine"}}).encode(),
    no_such_job=json.dumps({{**ENDED, "ticket": 2**40}}).encode(),
    no_such_progress=json.dumps({{"kind": "progress", "ticket": 2**40, "value": 1}}).encode(),
    empty=b"",
    deep=b"[" * 90_000,
    long=b"x" * 150_000,
    success=json.dumps({{**ENDED, "status": "succeeded", "ticket": 2**40}}).encode(),
)

@handler(max_attempts=1)
def write(what: str):
    for fd, end in ends():
        end.send(WORDS[what])
    time.sleep(20)

@handler(max_attempts=1)
def close(what: str):
    for fd, end in ends():
        if what == "close":
            os.close(fd)
        else:
            end.shutdown(socket.SHUT_RDWR)
    time.sleep(20)

@handler(max_attempts=1)
def innocent(seconds: float = 0):
    time.sleep(seconds)

@handler(max_attempts=1)
def crash():
    os._exit(1)

@handler(max_attempts=1)
def progress_of_many(job: Job):
    def tell(number):
        for _ in range(200):
            job.progress(dict(of=number, padding="x" * 3000))
            time.sleep(0.001)
    others = [multiprocessing.Process(target=tell, args=(n,)) for n in range(4)]
    for other in others:
        other.start()
    tell(4)
    for other in others:
        other.join()
    raise RuntimeError("y" * 100_000)

@handler(max_attempts=1)
def progress_in_a_signal_handler(job: Job):
    signal.signal(signal.SIGUSR1, lambda *_: job.progress("signal"))
    signal.setitimer(signal.ITIMER_REAL, 0)
    other = subprocess.Popen(
        ["sh", "-c", f"for i in $(seq 300); do kill -USR1 {{os.getpid()}}; done"]
    )
    while other.poll() is None:
        job.progress("main")

@handler(max_attempts=1)
def stop_politely(words: list):
    program = subprocess.Popen(words)
    time.sleep(0.5)
    program.send_signal(signal.SIGINT)
    print("ended with", program.wait(timeout=5))

@handler(max_attempts=1)
def dispositions():
    os.system("grep Sig /proc/self/status")

@handler(max_attempts=1)
def terminate():
    other = multiprocessing.Process(target=time.sleep, args=(20,))
    other.start()
    time.sleep(0.3)
    other.terminate()
    other.join()
    print("exit code", other.exitcode)

@handler
def lose_output():
    for fd in range(3, 40):
        try:
            if os.readlink(f"/proc/self/fd/{{fd}}") == os.readlink("/proc/self/fd/1"):
                os.dup2(os.open("/dev/null", os.O_WRONLY), fd)
        except OSError:
            pass

@handler
def say(what: str):
    print(what)

class Closing:
    def __del__(self):
        time.sleep(1.5)

@handler(max_attempts=1, soft_limit=1)
def swallow():
    Closing()
    time.sleep(20)

@handler(max_attempts=1, soft_limit=1)
def borrow_alarm():
    ours = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    time.sleep(1.5)
    signal.signal(signal.SIGALRM, ours)
    time.sleep(20)
"""


def started(bench: Bench, *, at_import: str = "", **config: object) -> Worker:
    (bench.directory / "boundary.py").write_text(MODULE.format(at_import=at_import))
    return bench.started(handlers=["boundary"], **config)


def test_a_child_that_writes_nonsense_is_killed_and_its_job_charged(bench: Bench) -> None:
    worker = started(bench, slots=2, prefetch=2)
    innocent = bench.enqueue("innocent", seconds=6)
    words = ["stray", "four_gib", "no_json", "wrong_type", "wrong_status", "no_such_job"]
    words += ["no_such_progress", "empty", "deep", "long", "success"]
    for what in words:
        job = bench.enqueue("write", what=what)
        properties, _ = bench.dead()
        assert properties.message_id == job, what
        assert properties.headers[DEAD_REASON] == "worker-lost"
        assert "cannot report how it ends" in properties.headers[ERROR], what
    worker.wait("job-settled", outcome="succeeded", job=innocent)
    assert len(worker.events("child-broken")) == len(words)
    assert f'longshore_kills_total{{cause="broken"}} {len(words)}.0' in worker.get("/metrics")[1]
    assert worker.stop() == 0


@pytest.mark.parametrize("what", ["close", "shutdown"])
def test_a_child_that_has_lost_its_sockets_is_not_waited_for(bench: Bench, what: str) -> None:
    worker = started(bench, slots=1, prefetch=3)
    bench.enqueue("innocent")
    job = bench.enqueue("close", what=what)
    after = bench.enqueue("innocent")
    properties, _ = bench.dead(deadline=10)
    assert properties.message_id == job
    assert properties.headers[DEAD_REASON] == "worker-lost"
    worker.wait("job-settled", outcome="succeeded", job=after)


def test_a_child_that_has_lost_its_output_is_replaced(bench: Bench) -> None:
    worker = started(bench)
    bench.enqueue("lose_output")
    worker.wait("job-settled", outcome="succeeded")
    job = bench.enqueue("say", what="hello")
    assert worker.wait("output-written", job=job)["line"] == "hello"
    assert not worker.events("child-broken")


def test_records_of_processes_that_a_job_forks_arrive_whole(bench: Bench) -> None:
    worker = started(bench)
    bench.enqueue("progress_of_many")
    line = worker.wait("job-settled", outcome="dead")
    assert line["error"].startswith("RuntimeError: yyy")
    told = worker.events("job-progressed")
    assert told
    assert all(len(each["value"]["padding"]) == 3000 for each in told)
    seconds = line["seconds"]
    assert len(told) <= 2 + seconds / 0.25, "a flood of progress is thinned out"


def test_progress_may_be_told_in_a_signal_handler(bench: Bench) -> None:
    worker = started(bench)
    bench.enqueue("progress_in_a_signal_handler")
    worker.wait("job-settled", outcome="succeeded")
    assert worker.events("job-progressed")


def test_modules_may_ignore_sigchld(bench: Bench) -> None:
    worker = started(bench, at_import="signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    bench.enqueue("crash")
    assert "exited with code 1" in bench.dead()[0].headers[ERROR]
    bench.enqueue("innocent")
    worker.wait("job-settled", outcome="succeeded")
    assert worker.stop() == 0


def test_modules_may_reap_every_child_themselves(bench: Bench) -> None:
    """As one does whose signal handler is C's and cannot be taken back."""
    reaps = "bury = os.waitpid\nos.waitpid = lambda pid, how: (bury(pid, how), bury(pid, how))[1]"
    worker = started(bench, at_import=reaps)
    bench.enqueue("crash")
    assert "ended before the handler" in bench.dead()[0].headers[ERROR]
    bench.enqueue("innocent")
    worker.wait("job-settled", outcome="succeeded")


def test_modules_may_give_sockets_a_timeout(bench: Bench) -> None:
    worker = started(bench, at_import="socket.setdefaulttimeout(0.3)", slots=2, prefetch=2)
    bench.enqueue("innocent", seconds=1)
    worker.wait("job-settled", outcome="succeeded")
    bench.enqueue("innocent")
    worker.wait("job-settled", outcome="succeeded", count=2)
    assert not worker.events("child-died-idle")


def test_a_dead_zygote_is_named_in_the_last_words(bench: Bench) -> None:
    bench.tolerated.add("child-died-idle")
    worker = started(bench)
    (zygote,) = children_of(worker.process.pid)
    os.kill(zygote, signal.SIGKILL)
    assert worker.exit_code() == 4
    assert "the zygote was killed by SIGKILL" in worker.termination.read_text()
    assert worker.events("zygote-gone")


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


@pytest.mark.parametrize("isolation", ["Warm", "Fork"])
def test_programs_of_jobs_can_be_interrupted(bench: Bench, isolation: str) -> None:
    worker = started(bench, isolation=isolation)
    tidy = "import time\ntry: time.sleep(20)\nexcept KeyboardInterrupt: print('tidied')"
    cases = {
        "ended with -2": ["sleep", "20"],
        "ended with 0": [sys.executable, "-c", tidy],
        "ended with 3": ["sh", "-c", "trap 'exit 3' INT; sleep 20 & wait"],
    }
    for said, words in cases.items():
        job = bench.enqueue("stop_politely", words=words)
        worker.wait("job-settled", outcome="succeeded", job=job)
        assert worker.events("output-written", job=job, line=said)


@pytest.mark.parametrize("isolation", ["Warm", "Fork"])
def test_programs_of_jobs_ignore_and_block_nothing(bench: Bench, isolation: str) -> None:
    worker = started(bench, isolation=isolation)
    bench.enqueue("dispositions")
    worker.wait("job-settled", outcome="succeeded")
    said = dict(line["line"].split(":\t") for line in worker.events("output-written"))
    # What the worker was started with stays, of `nohup` for one; the C library uses 32 and 33.
    assert int(said["SigIgn"], 16) & (2**31 - 1) & ~_ignored_here() == 0
    assert int(said["SigBlk"], 16) == 0


def test_a_process_that_a_job_terminates_writes_no_stack(bench: Bench) -> None:
    worker = started(bench)
    bench.enqueue("terminate")
    worker.wait("job-settled", outcome="succeeded")
    assert [line["line"] for line in worker.events("output-written")] == ["exit code -15"]


@pytest.mark.parametrize("handler", ["swallow", "borrow_alarm"])
def test_an_interruption_that_was_lost_comes_again(bench: Bench, handler: str) -> None:
    started(bench)
    bench.enqueue(handler)
    assert "SoftTimeLimit" in bench.dead()[0].headers[ERROR]


def _ignored_here() -> int:
    """Signals that this process ignores, and so all that it starts, as /proc shows them."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("SigIgn:")[2].split()[0], 16)
