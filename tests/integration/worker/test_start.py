"""What keeps a worker from starting, and where it says so."""

from __future__ import annotations

import json
import resource
import shlex
import socket
import sys

import pytest

from longshore.contract.names import AMQP_URL_ENV, WORKER_CONFIG_ENV
from longshore.contract.reports import trouble_in
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration


def test_an_import_error_ends_the_worker_and_stands_in_the_termination_message(
    bench: Bench,
) -> None:
    (bench.directory / "broken.py").write_text("import no_such_library\n")
    worker = bench.start(handlers=["jobs", "broken"])
    assert worker.exit_code() == 3
    message = worker.termination.read_text()
    first = message.splitlines()[0]
    assert first == (
        "cannot import handlers from broken: ModuleNotFoundError: No module named 'no_such_library'"
    )
    assert 'broken.py", line 1' in message
    assert len(message.encode()) <= 4096


def test_a_module_that_exits_at_import_is_an_import_error_too(bench: Bench) -> None:
    (bench.directory / "broken.py").write_text("import os; os._exit(9)\n")
    worker = bench.start(handlers=["broken"])
    assert worker.exit_code() == 3
    assert "broken" in worker.termination.read_text()


def test_two_handlers_of_one_name_are_refused_with_both_places(bench: Bench) -> None:
    for name in ("one", "two"):
        (bench.directory / f"{name}.py").write_text(
            "from longshore import handler\n\n@handler\ndef render(): ...\n"
        )
    worker = bench.start(handlers=["one", "two"])
    assert worker.exit_code() == 3
    message = worker.termination.read_text()
    assert "two handlers are named 'render'" in message
    assert "one.py:3" in message
    assert "two.py:3" in message


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("@above\n@handler\ndef work(): ...", "not the handler 'work'"),
        ("class Jobs:\n    @handler\n    def work(self): ...", "'work' is a method of Jobs"),
        ("@handler\ndef work(self, x): ...", "'work' takes 'self' as methods do"),
        ("@handler\ndef work(a: Job, b: Job): ...", "parameter 'a' of 'work' cannot receive"),
        ("@handler\ndef work(a: list[Job]): ...", "parameter 'a' of 'work' cannot receive"),
        ("@handler\ndef work(a: 'os.no_such'): ...", "parameter 'a' of 'work' cannot be read"),
        ("part = handler(name='part')(functools.partial(print, 1))", "which has no name"),
    ],
)
def test_what_no_job_could_run_is_refused_at_the_start_by_name(
    bench: Bench, source: str, complaint: str
) -> None:
    (bench.directory / "odd.py").write_text(
        "import functools, os\nfrom longshore import handler, Job\n"
        "def above(function): return functools.wraps(function)(lambda: function())\n" + source
    )
    worker = bench.start(handlers=["odd"])
    assert worker.exit_code() == 3
    assert complaint in worker.termination.read_text()


def test_a_job_parameter_may_stand_anywhere(bench: Bench) -> None:
    (bench.directory / "odd.py").write_text(
        "from longshore import handler, Job\n"
        "@handler\ndef keyword(*, job: Job, x: int): assert job.handler == 'keyword'\n"
        "@handler\ndef second(x: int, job: Job): assert job.handler == 'second'\n"
        "@handler\ndef optional(job: Job | None, x: int): assert job.handler == 'optional'\n"
    )
    worker = bench.started(handlers=["odd"])
    for name in ("keyword", "second", "optional"):
        bench.enqueue(name, x=1)
        worker.wait("job-settled", handler=name, outcome="succeeded")


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({WORKER_CONFIG_ENV: ""}, f"{WORKER_CONFIG_ENV} is not set"),
        ({WORKER_CONFIG_ENV: "{"}, "invalid JSON"),
        (
            {
                WORKER_CONFIG_ENV: json.dumps(
                    {
                        "queue": "a.b",
                        "handlers": ["jobs"],
                        "hard_limit": "soon",
                        "ack_timeout": "1h",
                    }
                )
            },
            "hard_limit is 'soon'",
        ),
        ({AMQP_URL_ENV: "http://user:secret@host"}, f"{AMQP_URL_ENV} must begin with amqp://"),
        ({AMQP_URL_ENV: "amqp://user:secret@host:port/"}, f"{AMQP_URL_ENV} is not an AMQP address"),
    ],
    ids=["missing", "no-json", "duration", "scheme", "port"],
)
def test_a_bad_configuration_ends_the_worker_with_one_clear_line(
    bench: Bench, environment: dict[str, str], complaint: str
) -> None:
    worker = bench.start(env=environment)
    assert worker.exit_code() == 2
    message = worker.termination.read_text()
    assert complaint in message
    assert "\n" not in message.strip()
    assert "secret" not in message + worker.text()


def test_refused_credentials_are_told_and_tried_again(bench: Bench) -> None:
    url = bench.broker.amqp.replace("guest:guest", "guest:wrong")
    worker = bench.start(env={AMQP_URL_ENV: url})
    worker.wait("connection-failed", count=3)
    wait_for(lambda: "refused" in worker.termination.read_text(), why=worker.text)
    assert "wrong" not in worker.text()
    status, body = worker.get("/readyz")
    assert status == 503
    assert "refused" in trouble_in(body.encode()), "whoever asks hears why"
    assert worker.get("/healthz")[0] == 200
    assert worker.stop() == 0


def test_a_worker_that_rabbitmq_has_no_room_for_says_so_until_it_has(bench: Bench) -> None:
    vhost, ctl = ("-p", bench.broker.vhost), bench.broker.rabbitmqctl
    ctl("set_vhost_limits", *vhost, '{"max-connections": 0}')
    try:
        worker = bench.start()
        worker.wait("connection-failed")
        said = wait_for(lambda: trouble_in(worker.get("/readyz")[1].encode()))
    finally:
        ctl("clear_vhost_limits", *vhost)
    assert "limit" in said
    worker.wait("consumer-started")
    assert worker.get("/readyz") == (200, "consuming\n")
    assert worker.stop() == 0


def test_a_port_that_is_taken_ends_the_worker_with_one_clear_line(bench: Bench) -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        worker = bench.start(http_port=port)
        assert worker.exit_code() == 5
    message = worker.termination.read_text()
    assert f"cannot listen on port {port}" in message
    assert "\n" not in message
    assert "Traceback" not in worker.text()
    assert worker.events("port-unavailable")


def test_more_slots_than_a_soft_limit_of_open_files_allows_work(bench: Bench) -> None:
    """32 slots, and the soft limit that some container runtimes set is far too low for them."""
    worker = bench.start(command=_with_open_files(128, 4096), slots=32, prefetch=32)
    worker.wait("consumer-started")
    bench.enqueue("open_files", diary=bench.diary)
    for _ in range(64):
        bench.enqueue("write", diary=f"{bench.diary}-more")
    worker.wait("job-settled", count=65, outcome="succeeded")
    assert bench.lines() == ["128 4096"]
    assert worker.stop() == 0


def test_more_slots_than_open_files_can_be_had_for_end_the_worker_with_one_clear_line(
    bench: Bench,
) -> None:
    worker = bench.start(command=_with_open_files(128, 200), slots=64)
    assert worker.exit_code() == 5
    message = worker.termination.read_text()
    assert "64 slots need 448 open files, but the limit is 200" in message
    assert "\n" not in message


@pytest.mark.parametrize("isolation", ["Warm", "Fork", "Exec"])
def test_as_many_open_files_as_the_machine_allows_slow_nothing_down(
    bench: Bench, isolation: str
) -> None:
    """Who closes each descriptor that might be open needs minutes for as many as runtimes allow."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    what = {"job_command": ["true"]} if isolation == "Exec" else {"isolation": isolation}
    worker = bench.start(command=_with_open_files(most, most), **what)
    for _ in range(20):
        bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", count=20, outcome="succeeded")
    assert worker.stop() == 0


def test_thousands_of_handlers_with_long_names_are_served(bench: Bench) -> None:
    (bench.directory / "many.py").write_text(
        "from longshore import handler\n"
        "for number in range(2000):\n"
        "    @handler(name=f\"{'n' * 150}.{number}\")\n"
        "    def work(): ...\n"
    )
    worker = bench.started(handlers=["many"])
    bench.enqueue(f"{'n' * 150}.1999")
    worker.wait("job-settled", outcome="succeeded")
    assert worker.stop() == 0


def test_a_bug_in_the_worker_is_told_in_the_log_and_the_termination_message(
    bench: Bench,
) -> None:
    bench.tolerated.add("worker-crashed")
    (bench.directory / "sitecustomize.py").write_text(_A_BUG)
    worker = bench.start()
    assert worker.exit_code() == 70
    message = worker.termination.read_text()
    assert message.splitlines()[0] == "a bug in the worker: KeyError: 'nobody foresaw this'"
    assert "Traceback" in message
    assert worker.events("worker-crashed")[0]["error"] == "KeyError('nobody foresaw this')"
    assert "nobody foresaw this" in worker.stderr.read_text()


_A_BUG = """
import asyncio
connect = asyncio.BaseEventLoop.run_until_complete
def run(loop, future):
    def fail():
        raise KeyError("nobody foresaw this")
    loop.call_later(0.5, fail)
    return connect(loop, future)
asyncio.BaseEventLoop.run_until_complete = run
"""


def _with_open_files(soft: int, hard: int) -> list[str]:
    """The command of a worker that may open so many files; a hard limit stays lowered."""
    limits = f"ulimit -Sn {soft} && ulimit -Hn {hard}"
    return ["/bin/sh", "-c", f"{limits} && exec {shlex.quote(sys.executable)} -m longshore.worker"]
