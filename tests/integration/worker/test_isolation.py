"""`Fork`: a fresh process for each job. `Exec`: a command for each job, under the same rules."""

from __future__ import annotations

import json
import shlex
import signal
import sys

import pytest

from longshore.contract.message import ATTEMPT, DEAD_REASON, ERROR, TRACEBACK
from tests.integration.worker.workers import Bench, Worker, is_alive, wait_for

pytestmark = pytest.mark.integration

HOARD = """
from longshore import handler
from jobs import note
import os, subprocess, time

seen = []

@handler
def hoard(diary: str, number: int) -> None:
    seen.append(number)
    note(diary, f"{number} {os.getpid()} {len(seen)}")

@handler
def overlap(diary: str) -> None:
    note(diary, "start")
    time.sleep(0.05)
    note(diary, "end")

@handler
def run_what_tidies(diary: str) -> None:
    tidy = f"trap 'sleep 4; echo tidied >> {diary}; exit' TERM; echo $$ >> {diary}"
    subprocess.run(["sh", "-c", tidy + "; while :; do sleep 0.05; done"])

@handler
def leave_behind(diary: str) -> None:
    note(diary, subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
"""


@pytest.fixture
def forked(bench: Bench) -> Worker:
    return forking(bench)


def forking(bench: Bench, **config: object) -> Worker:
    (bench.directory / "hoard.py").write_text(HOARD)
    return bench.started(isolation="Fork", handlers=["hoard"], slots=2, prefetch=16, **config)


def shell(bench: Bench, script: str, **config: object) -> Worker:
    """A worker whose jobs are runs of `script`; its directory is the test's."""
    return bench.started(job_command=["sh", "-c", script], **config)


def python(script: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(script)}"


# Fork


def test_each_forked_job_has_a_process_of_its_own(bench: Bench, forked: Worker) -> None:
    for number in range(40):
        bench.enqueue("hoard", diary=bench.diary, number=number)
    forked.wait("job-settled", count=40, outcome="succeeded")
    numbers, pids, seen = zip(*(line.split() for line in bench.lines()), strict=True)
    assert sorted(map(int, numbers)) == list(range(40))
    assert len(set(pids)) == 40
    assert set(seen) == {"1"}
    assert forked.stop() == 0
    assert not forked.events("job-settled", outcome="retried")


def test_a_worker_does_not_grow_as_its_children_are_replaced(bench: Bench, forked: Worker) -> None:
    def run(jobs: int, *, done: int) -> None:
        for number in range(jobs):
            bench.enqueue("hoard", diary=bench.diary, number=number)
        forked.wait("job-settled", count=done + jobs, outcome="succeeded", deadline=120)

    run(200, done=0)
    memory, descriptors = forked.memory(), forked.descriptors()
    run(400, done=200)
    assert forked.memory() - memory < 1024 * 1024
    wait_for(lambda: forked.descriptors() <= descriptors)


def test_no_more_forked_jobs_run_at_once_than_there_are_slots(bench: Bench, forked: Worker) -> None:
    for _ in range(30):
        bench.enqueue("overlap", diary=bench.diary)
    forked.wait("job-settled", count=30, outcome="succeeded")
    running = most = 0
    for line in bench.lines():
        running += 1 if line == "start" else -1
        most = max(most, running)
    assert most == 2


def test_what_a_forked_job_leaves_behind_goes_with_its_process(
    bench: Bench, forked: Worker
) -> None:
    bench.enqueue("leave_behind", diary=bench.diary)
    forked.wait("job-settled", outcome="succeeded")
    left = int(bench.lines()[0])
    wait_for(lambda: not is_alive(left))


# Exec: what a command is given


def test_the_grace_of_one_job_does_not_end_with_the_job_beside_it(bench: Bench) -> None:
    worker = forking(bench, hard_limit="2s", kill_grace="20s", retry={"max_attempts": 1})
    bench.enqueue("run_what_tidies", diary=bench.diary)
    (pid,) = bench.wait_lines(1)
    wait_for(lambda: 'longshore_kills_total{cause="hard-limit"} 1.0' in worker.get("/metrics")[1])
    for number in range(1, 6):
        bench.enqueue("hoard", diary=f"{bench.diary}-beside", number=number)
        worker.wait("job-settled", count=number, outcome="succeeded")
    assert is_alive(int(pid))
    assert bench.dead()[0].headers[DEAD_REASON] == "hard-limit"
    assert bench.lines() == [pid, "tidied"]


def test_a_command_gets_the_job_on_stdin_and_in_its_environment(bench: Bench) -> None:
    worker = shell(bench, "cat > stdin; env > environment; readlink /proc/$$/fd/1 > stdout")
    body = b'{"source": "s3://in/1.mov", "exact": 12345678901234567890.123456789, "\xc3\xa4": null}'
    bench.publish(
        body,
        type="convert/any name",
        content_type="application/json",
        message_id="j-1",
        headers={
            "tenant": "a",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "longshore-attempt": 2,
            "longshore-enqueued-at": 1_700_000_000_123,
        },
    )
    worker.wait(
        "job-settled", outcome="succeeded", job="j-1", handler="convert/any name", attempt=2
    )

    text = (bench.directory / "stdin").read_bytes()
    job = json.loads(text)
    deadline = job.pop("deadline")
    assert job == {
        "id": "j-1",
        "handler": "convert/any name",
        "attempt": 2,
        "maxAttempts": 3,
        "queue": bench.queue,
        "enqueuedAt": "2023-11-14T22:13:20.123Z",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "headers": {"tenant": "a"},
        "arguments": json.loads(body),
    }
    assert deadline.endswith("Z")
    assert body in text  # no number has been through anybody's floats
    environment = dict(
        line.split("=", 1)
        for line in (bench.directory / "environment").read_text().splitlines()
        if "=" in line
    )
    assert {
        name: environment[name] for name in environment if name.startswith("LONGSHORE_JOB_")
    } == {
        "LONGSHORE_JOB_ID": "j-1",
        "LONGSHORE_JOB_HANDLER": "convert/any name",
        "LONGSHORE_JOB_ATTEMPT": "2",
        "LONGSHORE_JOB_MAX_ATTEMPTS": "3",
        "LONGSHORE_JOB_ENQUEUED_AT": "2023-11-14T22:13:20.123Z",
        "LONGSHORE_JOB_DEADLINE": deadline,
    }
    assert environment["LONGSHORE_QUEUE"] == bench.queue
    assert environment["TRACEPARENT"] == job["traceparent"]


def test_a_command_inherits_nothing_of_the_workers(bench: Bench) -> None:
    script = (
        "import json, os, signal; json.dump({"
        "'descriptors': sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists("
        "f'/proc/self/fd/{n}')), 'blocked': sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),"
        "'interrupt': str(signal.getsignal(signal.SIGINT))}, open('seen', 'w'))"
    )
    worker = bench.started(job_command=[sys.executable, "-c", script])
    bench.enqueue("any")
    worker.wait("job-settled", outcome="succeeded")
    seen = json.loads((bench.directory / "seen").read_text())
    # 3 is the file that it writes.
    assert set(seen["descriptors"]) <= {0, 1, 2, 3}
    assert seen["blocked"] == []
    assert "default_int_handler" in seen["interrupt"]


def test_a_large_argument_reaches_the_command_whole(bench: Bench) -> None:
    worker = shell(bench, "wc -c > size")
    bench.enqueue("any", data="x" * 1024 * 1024)
    worker.wait("job-settled", outcome="succeeded")
    assert int((bench.directory / "size").read_text()) > 1024 * 1024


def test_a_command_need_not_read_its_input(bench: Bench) -> None:
    worker = shell(bench, "exec <&-; exit 0")
    bench.enqueue("any", data="x" * 15 * 1024 * 1024)
    worker.wait("job-settled", outcome="succeeded")


@pytest.mark.parametrize("body", [b"[1]", b"{", b'{"a": NaN}', b"\xff{}", b'"x"'])
def test_a_body_that_is_no_object_is_dead_and_starts_no_command(bench: Bench, body: bytes) -> None:
    shell(bench, "echo ran >> diary")
    bench.enqueue("any", body=body)
    properties, buried = bench.dead()
    assert buried == body
    assert properties.headers[DEAD_REASON] == "undecodable"
    assert "the body is not a JSON object" in properties.headers[ERROR]
    assert bench.lines() == []


def test_a_nul_in_an_id_is_no_reason_to_fail(bench: Bench) -> None:
    worker = shell(bench, 'printf %s "$LONGSHORE_JOB_ID" > id')
    bench.publish(b"{}", type="any", content_type="application/json", message_id="a\0b")
    worker.wait("job-settled", outcome="succeeded", job="a\0b")
    assert (bench.directory / "id").read_text() == "a\N{REPLACEMENT CHARACTER}b"


# Exec: how a command ends


def test_exit_code_75_asks_for_another_attempt(bench: Bench) -> None:
    worker = shell(
        bench, 'echo "$LONGSHORE_JOB_ATTEMPT" >> diary; [ "$LONGSHORE_JOB_ATTEMPT" = 2 ] || exit 75'
    )
    bench.enqueue("any")
    worker.wait("job-settled", outcome="succeeded", attempt=2)
    (retried,) = worker.events("job-settled", outcome="retried")
    assert retried["error"] == ("CommandRetry: exited with code 75, which requests another attempt")
    assert bench.lines() == ["1", "2"]


def test_any_other_exit_code_is_a_failure_that_ends_with_what_was_written_last(
    bench: Bench,
) -> None:
    worker = shell(bench, "echo hello; echo 'no such codec: h266' >&2; exit 3")
    job = bench.enqueue("any")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "max-attempts"
    assert properties.headers[ATTEMPT] == 3
    assert properties.headers[ERROR] == "CommandFailed: exited with code 3"
    assert properties.headers[TRACEBACK] == "hello\nno such codec: h266\n"
    worker.wait("output-written", count=3, job=job, line="no such codec: h266")
    assert {line["attempt"] for line in worker.events("output-written", job=job)} == {1, 2, 3}


def test_a_signal_is_named(bench: Bench) -> None:
    shell(bench, "kill -SEGV $$", retry={"max_attempts": 1})
    bench.enqueue("any")
    properties, _ = bench.dead()
    assert properties.headers[ERROR] == "CommandFailed: killed by SIGSEGV"
    assert TRACEBACK not in properties.headers


def test_what_a_command_leaves_behind_holds_nobody_up_and_is_ended(bench: Bench) -> None:
    worker = shell(bench, "sleep 600 & echo $! >> diary; setsid sleep 600 & echo $! >> diary")
    for _ in range(3):
        bench.enqueue("any")
    worker.wait("job-settled", count=3, outcome="succeeded")
    left = [int(line) for line in bench.lines()]
    assert len(left) == 6
    wait_for(lambda: not any(map(is_alive, left)))


def test_a_program_that_vanishes_fails_jobs_and_not_the_worker(bench: Bench) -> None:
    program = bench.directory / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    worker = bench.started(job_command=[str(program)], retry={"max_attempts": 1})
    program.unlink()
    bench.enqueue("any")
    assert "No such file" in bench.dead()[0].headers[ERROR]
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    bench.enqueue("any")
    worker.wait("job-settled", outcome="succeeded")


# Exec: limits and interruptions

HANG = """
import os, signal, subprocess, sys, time
ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
for fled in (False, True):
    other = subprocess.Popen([sys.executable, "-c", ignore], start_new_session=fled)
    open("diary", "a").write(f"{other.pid}\\n")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("diary", "a").write(f"{os.getpid()}\\n")
time.sleep(600)
"""


def test_the_hard_limit_ends_a_command_with_all_its_processes(bench: Bench) -> None:
    bench.started(
        job_command=[sys.executable, "-c", HANG], hard_limit="2s", retry={"max_attempts": 1}
    )
    bench.enqueue("any")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "hard-limit"
    assert TRACEBACK not in properties.headers  # not even of the process that waited
    assert [pid for pid in bench.wait_lines(3) if is_alive(int(pid))] == []


def test_a_command_is_given_the_kill_grace(bench: Bench) -> None:
    shell(
        bench,
        "trap 'sleep 0.3; echo tidied >> diary; exit' TERM; while :; do sleep 0.05; done",
        hard_limit="1s",
        kill_grace="20s",
        retry={"max_attempts": 1},
    )
    bench.enqueue("any")
    assert bench.dead()[0].headers[DEAD_REASON] == "hard-limit"
    assert bench.lines() == ["tidied"]


TRAPPED = "trap 'echo tidied; exit {code}' TERM; echo start >> diary; while :; do sleep 0.05; done"


def test_the_soft_limit_is_a_sigterm_that_a_command_may_make_good_of(bench: Bench) -> None:
    worker = shell(bench, TRAPPED.format(code=0), soft_limit="1s")
    job = bench.enqueue("any")
    worker.wait("job-settled", outcome="succeeded")
    assert worker.events("output-written", job=job, line="tidied")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (4, "CommandFailed: the soft time limit has passed; exited with code 4"),
        (
            75,
            "CommandRetry: the soft time limit has passed; exited with code 75, which requests "
            "another attempt",
        ),
    ],
)
def test_a_command_that_fails_at_its_soft_limit_has_failed(
    bench: Bench, code: int, how: str
) -> None:
    shell(bench, TRAPPED.format(code=code), soft_limit="1s", retry={"max_attempts": 1})
    bench.enqueue("any")
    properties, _ = bench.dead()
    assert properties.headers[ERROR] == how
    assert properties.headers[TRACEBACK] == "tidied\n"


@pytest.mark.parametrize("code", [1, 75])
def test_a_drain_with_requeue_gives_a_command_back_uncharged(bench: Bench, code: int) -> None:
    worker = shell(bench, TRAPPED.format(code=code), on_termination="Requeue")
    job = bench.enqueue("any")
    bench.wait_lines(1)
    assert worker.stop() == 0
    assert worker.events("job-settled", outcome="returned", job=job)
    second = shell(bench, "echo again >> diary")
    second.wait("job-settled", outcome="succeeded", job=job, attempt=1)
    assert bench.lines() == ["start", "again"]


def test_a_command_that_is_done_as_it_is_interrupted_is_done(bench: Bench) -> None:
    worker = shell(bench, TRAPPED.format(code=0), on_termination="Requeue")
    bench.enqueue("any")
    bench.wait_lines(1)
    assert worker.stop() == 0
    assert worker.events("job-settled", outcome="succeeded")
    assert bench.is_empty()


def test_a_drain_waits_for_a_command(bench: Bench) -> None:
    worker = shell(bench, "echo start >> diary; sleep 1; echo end >> diary")
    bench.enqueue("any")
    bench.wait_lines(1)
    assert worker.stop() == 0
    assert bench.lines() == ["start", "end"]
    assert bench.is_empty()


def test_a_second_sigterm_kills_a_command(bench: Bench) -> None:
    worker = shell(bench, "echo $$ >> diary; trap '' TERM; while :; do sleep 0.05; done")
    bench.enqueue("any")
    (pid,) = bench.wait_lines(1)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait("worker-draining")
    assert worker.stop() == 143
    assert not is_alive(int(pid))
    wait_for(lambda: bench.ready() == 1)


def test_a_command_whose_delivery_is_lost_is_told(bench: Bench) -> None:
    script = "trap 'echo told >> diary; exit 1' TERM; echo start >> diary; " + (
        'while [ "$LONGSHORE_JOB_ATTEMPT" = 1 ]; do sleep 0.05; done'
    )
    worker = shell(bench, script)
    bench.enqueue("any")
    bench.wait_lines(1)
    bench.broker.close_all_connections()
    worker.wait("job-settled", outcome="succeeded", attempt=2)
    worker.wait("job-settled", outcome="void")
    assert not worker.events("job-settled", outcome="retried")
    assert bench.lines() == ["start", "told", "start"]


def test_a_commands_memory_counts(bench: Bench) -> None:
    hoard = "import time; hoard = b'x' * 300_000_000; time.sleep(600)"
    bench.started(
        job_command=[sys.executable, "-c", hoard],
        memory_limit_per_job=150 * 1024 * 1024,
        kill_grace="1m",
        retry={"max_attempts": 1},
    )
    bench.enqueue("any")
    assert bench.dead()[0].headers[DEAD_REASON] == "memory-limit"


# Exec: what keeps a worker from starting


def test_a_command_that_cannot_be_run_ends_the_worker_with_one_clear_line(bench: Bench) -> None:
    (bench.directory / "text").write_text("#!/bin/sh\n")
    for program, complaint in {
        "no-such-program": "cannot run the command: no executable 'no-such-program' in PATH",
        "./missing": "cannot run the command: file './missing' does not exist",
        "./text": "cannot run the command: './text' is not executable; set its x bit",
        str(bench.directory): "is a directory; it must be an executable file",
    }.items():
        worker = bench.start(job_command=[program, "--fast"])
        assert worker.exit_code() == 3
        assert complaint in worker.termination.read_text()
