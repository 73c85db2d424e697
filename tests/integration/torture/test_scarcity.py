"""Workers that have too few descriptors, or other things than they count on."""

from __future__ import annotations

import json
import shlex
import socket
import sys
import time
from contextlib import ExitStack

import pytest

from longshore.contract.message import DEAD_REASON, DELIVERY_COUNT
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration


def test_connections_that_say_nothing_leave_the_worker_its_descriptors(bench: Bench) -> None:
    """Anybody may connect to its port. What it lives on are descriptors: to see processes, to end
    them, to reconnect."""
    program = f"ulimit -n 120; exec {shlex.join((sys.executable, '-m', 'longshore.worker'))}"
    worker = bench.start(
        command=["bash", "-c", program],
        hard_limit="2s",
        memory_limit_per_job=10**9,
        retry={"max_attempts": 1},
    )
    worker.wait("consumer-started")
    port = worker.wait("worker-started")["http_port"]
    bench.enqueue("hang", diary=bench.diary)
    bench.wait_lines(1)
    with ExitStack() as silent:
        for _ in range(300):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            assert worker.process.poll() is None, worker.text()
        assert worker.get("/healthz") == (200, "alive\n")
        assert worker.descriptors() < 110
        assert bench.dead()[0].headers[DEAD_REASON] == "hard-limit"
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert worker.stop() == 0


def test_a_lack_of_descriptors_at_a_fork_passes(bench: Bench) -> None:
    """The process that forks is the worker's only one: its end would be the worker's."""
    (bench.directory / "greedy.py").write_text(
        "import os, resource, threading\n"
        "from longshore import handler\n"
        "before = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "open_now = len(os.listdir('/proc/self/fd'))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 2, before[1]))\n"
        "def enough(): resource.setrlimit(resource.RLIMIT_NOFILE, before)\n"
        "threading.Timer(1.5, enough).start()\n"
        "@handler\n"
        "def work(): ...\n"
    )
    worker = bench.start(handlers=["greedy"])
    bench.enqueue("work")
    assert "Too many open files" in worker.wait("fork-failed")["error"]
    worker.wait("job-settled", outcome="succeeded")
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "body",
    [
        "def __init__(self, *_): raise ValueError('Socket type must be stream or datagram')",
        "def setblocking(self, _): __import__('os').set_blocking(self.fileno(), False)",
    ],
    ids=["of another kind", "that never block"],
)
def test_a_module_may_put_sockets_of_its_own_in_place_of_pythons(bench: Bench, body: str) -> None:
    """As PySocks, which sends all through a proxy, and eventlet do."""
    (bench.directory / "odd.py").write_text(
        "import socket\n"
        "from longshore import handler\n"
        f"class Odd(socket.socket):\n    {body}\n"
        "socket.socket = socket.SocketType = Odd\n"
        "@handler\n"
        "def work(): ...\n"
    )
    worker = bench.started(handlers=["odd"], slots=2, prefetch=2)
    for _ in range(2):
        time.sleep(0.2)  # so that a child waits for its job, and not the job for its child
        bench.enqueue("work")
        bench.enqueue("work")
    worker.wait("job-settled", count=4, outcome="succeeded")
    assert worker.stop() == 0


def test_a_count_of_deliveries_that_came_with_a_job_says_nothing_of_it(bench: Bench) -> None:
    """Whoever publishes what they have received, a shovel for one, may send its count along.
    RabbitMQ delivers it as it came until it has one of its own."""
    worker = bench.started(retry={"max_attempts": 3, "initial_delay": 0.0})
    for number, count in enumerate((9, "many", -1)):
        bench.publish(
            json.dumps({"diary": bench.diary, "text": str(number)}).encode(),
            type="write",
            content_type="application/json",
            headers={DELIVERY_COUNT: count},
        )
    worker.wait("job-settled", count=3, outcome="succeeded")
    assert bench.lines() == ["0 1", "1 1", "2 1"]


def test_a_job_that_kills_its_worker_is_counted_whatever_came_with_it(bench: Bench) -> None:
    """From the second delivery on the count is RabbitMQ's."""
    bench.publish(
        json.dumps({"diary": bench.diary}).encode(),
        type="kill_worker",
        content_type="application/json",
        headers={DELIVERY_COUNT: 9},
    )
    for _ in range(8):
        worker = bench.start(retry={"max_attempts": 2, "initial_delay": 0.0})

        def is_decided(worker: Worker = worker) -> bool:
            return worker.process.poll() is not None or bool(worker.events("job-settled"))

        wait_for(is_decided)
        if worker.process.poll() is None:
            break
    assert bench.dead()[0].headers[DEAD_REASON] == "worker-lost"
    assert len(bench.lines()) >= 2
