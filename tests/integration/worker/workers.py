"""Real workers as processes, and real jobs for them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel

from longshore.contract.names import (
    AMQP_URL_ENV,
    JOBS_EXCHANGE,
    TERMINATION_LOG_ENV,
    WORKER_CONFIG_ENV,
    dead_queue_name,
)
from tests.integration import secret
from tests.integration.conftest import Broker

HANDLERS = Path(__file__).parent
DEADLINE = 20.0
RUN_ENV = "LONGSHORE_TEST_RUN"
PYTHONPATH = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]

Value = TypeVar("Value")


def wait_for(
    what: Callable[[], Value | None], *, deadline: float = DEADLINE, why: object = ""
) -> Value:
    """The first true value of `what`."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if value := what():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline} s: {why() if callable(why) else why}")


@dataclass
class Worker:
    """One `python -m longshore.worker`."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path
    termination: Path
    run: str

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Lines of its log so far that carry this event and these fields."""
        return [
            line
            for line in self.log()
            if line.get("event") == name and fields.items() <= line.items()
        ]

    def log(self) -> list[dict[str, Any]]:
        lines = self.stdout.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def wait(
        self, name: str, *, count: int = 1, deadline: float = DEADLINE, **fields: Any
    ) -> dict[str, Any]:
        """Wait until an event was logged `count` times; the last of them."""
        found = wait_for(
            lambda: (
                lines if len(lines := self.events(name, **fields)) >= count else self._must_live()
            ),
            deadline=deadline,
            why=lambda: f"{count} of {name} {fields}; the log:\n{self.text()}",
        )
        return found[-1]

    def text(self) -> str:
        return self.stdout.read_text()[-6000:] + self.stderr.read_text()[-3000:]

    def stop(self, *, number: int = signal.SIGTERM, deadline: float = DEADLINE) -> int:
        """Signal it and wait; the exit code."""
        self.process.send_signal(number)
        return self.exit_code(deadline=deadline)

    def exit_code(self, *, deadline: float = DEADLINE) -> int:
        return self.process.wait(deadline)

    def get(self, path: str) -> tuple[int, str]:
        port = self.wait("worker-started")["http_port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def memory(self, field: str = "VmRSS") -> int:
        """Bytes of the parent's memory: `VmRSS` now, `VmHWM` at the most so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{field}:")[2].split()[0]) * 1024

    def descriptors(self) -> int:
        """Open file descriptors of the parent."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def survivors(self) -> list[int]:
        """Processes that this worker has brought about, however far they have fled."""
        mark = f"{RUN_ENV}={self.run}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def _must_live(self) -> None:
        code = self.process.poll()
        assert code is None, f"the worker ended with {code}:\n{self.text()}"


def elsewhere(channel: BlockingChannel | None = None) -> Broker:
    """A broker that workers reach by their own environment alone."""
    return Broker(series="", vhost="", amqp="", management="", ctl=(), channel=channel)


@dataclass
class Bench:
    """A queue, its workers and a diary that jobs write."""

    broker: Broker
    queue: str
    directory: Path
    workers: list[Worker] = field(default_factory=list)
    tolerated: set[str] = field(default_factory=set)
    """Alarming events that the test itself brings about."""

    modules: list[str] = field(default_factory=lambda: ["jobs"])
    """Handlers that workers serve."""

    folders: list[Path] = field(default_factory=lambda: [HANDLERS])
    """Where those modules are."""

    amqp: str | None = None
    """Address that workers use; None is the broker's own."""

    @property
    def diary(self) -> str:
        return str(self.directory / "diary")

    def lines(self) -> list[str]:
        path = Path(self.diary)
        return path.read_text().splitlines() if path.exists() else []

    def wait_lines(self, count: int, *, deadline: float = DEADLINE) -> list[str]:
        return wait_for(
            lambda: lines if len(lines := self.lines()) >= count else None,
            deadline=deadline,
            why=lambda: f"{count} lines, but {self.lines()}\n{self.workers[-1].text()}",
        )

    def start(
        self,
        *,
        env: dict[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "longshore.worker"),
        job_command: Sequence[str] = (),
        **config: Any,
    ) -> Worker:
        """A worker; it may not consume yet. With `job_command`, that runs its jobs."""
        number = len(self.workers)
        settings = {
            "queue": self.queue,
            **_what_runs(job_command, modules=self.modules),
            "hard_limit": "30s",
            "kill_grace": "200ms",
            "ack_timeout": "10m",
            "heartbeat": "10s",
            "http_port": 0,
            "retry": {"initial_delay": 1.0, "jitter": 0.0, "max_attempts": 3},
            **config,
        }
        run = uuid.uuid4().hex
        path = [*map(str, self.folders), str(self.directory), *PYTHONPATH]
        termination = self.directory / f"termination-{number}"
        termination.touch()
        stdout, stderr = self.directory / f"out-{number}", self.directory / f"err-{number}"
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                cwd=self.directory,
                env={
                    **os.environ,
                    "PYTHONPATH": ":".join(path),
                    WORKER_CONFIG_ENV: json.dumps(settings),
                    AMQP_URL_ENV: secret.connecting_as(
                        self.broker.worker, self.amqp or self.broker.amqp
                    ),
                    TERMINATION_LOG_ENV: str(termination),
                    RUN_ENV: run,
                    **(env or {}),
                },
            )
        worker = Worker(process, stdout, stderr, termination, run)
        self.workers.append(worker)
        return worker

    def started(self, **config: Any) -> Worker:
        """A worker that consumes and whose other connection, the one that publishes, is open."""
        worker = self.start(**config)
        worker.wait("consumer-started")
        worker.wait("operator-line-opened")
        return worker

    def enqueue(self, handler: str, *, body: bytes | None = None, **arguments: Any) -> str:
        """A job as any AMQP client would send it; its id."""
        job = str(uuid.uuid4())
        encoded = json.dumps(arguments).encode() if body is None else body
        self.publish(encoded, type=handler, content_type="application/json", message_id=job)
        return job

    def publish(
        self,
        body: bytes,
        *,
        exchange: str = JOBS_EXCHANGE,
        key: str | None = None,
        **properties: Any,
    ) -> None:
        self.broker.channel.basic_publish(
            exchange,
            key or self.queue,
            body,
            pika.BasicProperties(**{"delivery_mode": 2, **properties}),
        )

    def dead(self, *, deadline: float = DEADLINE) -> tuple[pika.BasicProperties, bytes]:
        """The next dead letter."""

        def get() -> tuple[pika.BasicProperties, bytes] | None:
            _, properties, body = self.broker.channel.basic_get(
                dead_queue_name(self.queue), auto_ack=True
            )
            return None if properties is None else (properties, body)

        return wait_for(get, deadline=deadline, why=self.workers[-1].text)

    def ready(self) -> int:
        """Jobs in the queue that nobody has."""
        declared = self.broker.channel.queue_declare(self.queue, passive=True)
        return int(declared.method.message_count)

    def consumers(self) -> int:
        """Consumers that the broker sends jobs to."""
        declared = self.broker.channel.queue_declare(self.queue, passive=True)
        return int(declared.method.consumer_count)

    def is_empty(self) -> bool:
        """Nothing ready, and nothing unacked once no worker is there to hold it."""
        return self.ready() == 0

    def end(self) -> list[int]:
        """End all workers; processes that outlived them."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait(DEADLINE)
        left = []
        for worker in self.workers:
            left += _gone_soon(worker)
        return left


def _what_runs(job_command: Sequence[str], *, modules: Sequence[str]) -> dict[str, Any]:
    if job_command:
        return {"isolation": "Exec", "command": [*job_command]}
    return {"handlers": [*modules]}


def _gone_soon(worker: Worker) -> list[int]:
    end = time.monotonic() + DEADLINE
    while (left := worker.survivors()) and time.monotonic() < end:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextlib.contextmanager
def bench_for(broker: Broker, directory: Path) -> Iterator[Bench]:
    bench = Bench(broker, f"test.q{uuid.uuid4().hex[:10]}", directory)
    try:
        yield bench
    finally:
        left = bench.end()
    assert not left, f"processes outlived their worker: {left}"
    for worker in bench.workers:
        alarms = [line for line in worker.log() if _is_alarming(line, bench.tolerated)]
        assert not alarms, alarms
        written = secret.files(worker.stdout, worker.stderr, worker.termination)
        assert not (found := secret.leaks(written)), f"a password was written: {found}"


def _is_alarming(line: dict[str, Any], tolerated: set[str]) -> bool:
    events = {
        *("child-died-idle", "settlement-failed", "worker-crashed", "log-lines-dropped"),
        *("processes-unkillable", "connection-broken", "delivery-failed", "order-failed"),
    }
    is_bug = line["event"] == "message-logged" and "traceback" in line  # asyncio's, say
    return is_bug or line["event"] in events - tolerated
