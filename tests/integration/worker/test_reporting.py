"""The middleware that comes along, with the real SDKs: Sentry and OpenTelemetry."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext

from longshore import Client
from longshore.contract.message import DEAD_REASON, ERROR
from longshore.integrations.opentelemetry import trace_headers
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration

HANDLERS = """
import asyncio, os, signal, time
from longshore import Discard, Job, Retry, Snooze, handler

@handler(max_attempts=2)
def fail(job: Job) -> None:
    raise ValueError(f"attempt {job.attempt}")

@handler(max_attempts=1)
async def fail_async() -> None:
    await asyncio.sleep(0.01)
    raise ValueError("attempt 1")

@handler
def well() -> None:
    pass

@handler(throws=LookupError, max_attempts=2)
def announce(job: Job, how: str) -> None:
    if how == "expected":
        raise KeyError("declined")
    if how == "discard":
        raise Discard
    if job.attempt == 1 and how == "retry":
        raise Retry(after=0)

@handler(max_attempts=1, soft_limit="300ms")
def dawdle() -> None:
    time.sleep(60)

@handler(max_attempts=1, retry_when=lambda error: os.kill(os.getpid(), signal.SIGKILL))
def fail_and_die() -> None:
    raise ValueError("last words")
"""


@dataclass
class Collector:
    """An HTTP server on loopback that keeps what is posted to it."""

    port: int
    posts: list[tuple[str, bytes]] = field(default_factory=list)

    def events(self) -> list[dict[str, Any]]:
        """Sentry's events so far."""
        return [event for path, body in self.posts if "envelope" in path for event in _events(body)]

    def spans(self) -> list[Span]:
        """OpenTelemetry's spans so far."""
        found: list[Span] = []
        for path, body in self.posts:
            if path == "/v1/traces":
                request = ExportTraceServiceRequest.FromString(body)
                for resource in request.resource_spans:
                    found += [span for scope in resource.scope_spans for span in scope.spans]
        return found


def _events(envelope: bytes) -> list[dict[str, Any]]:
    """Items of type `event`: each a line of header, then as many bytes as it says."""
    _, _, rest = envelope.partition(b"\n")
    found = []
    while rest.strip():
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        payload, rest = rest[: header["length"]], rest[header["length"] :].lstrip(b"\n")
        if header["type"] == "event":
            found.append(json.loads(payload))
    return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    posts: list[tuple[str, bytes]] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            posts.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Keep) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Collector(server.server_port, posts)
        server.shutdown()
        thread.join()


@pytest.fixture
def reporting(bench: Bench) -> Bench:
    (bench.directory / "reporting.py").write_text(HANDLERS)
    return bench


def started(bench: Bench, **settings: Any) -> Worker:
    """A worker that consumes; Sentry's integrations take their time to import."""
    worker = bench.start(**settings)
    worker.wait("consumer-started", deadline=90)
    return worker


def sentry(collector: Collector) -> dict[str, Any]:
    """Settings of a worker that reports to it."""
    return {
        "handlers": ["reporting"],
        "middleware": ["sentry"],
        "env": {"SENTRY_DSN": f"http://key@127.0.0.1:{collector.port}/1"},
        "retry": {"initial_delay": 0.0, "max_attempts": 3},
    }


def tracing(collector: Collector, *, delay: int) -> dict[str, Any]:
    """Settings of a worker that sends spans `delay` ms after they end."""
    return {
        "handlers": ["reporting"],
        "middleware": ["opentelemetry"],
        "env": {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
            "OTEL_BSP_SCHEDULE_DELAY": str(delay),
        },
        "retry": {"initial_delay": 0.0, "max_attempts": 3},
    }


def test_sentry_gets_an_event_for_each_failed_attempt(
    reporting: Bench, collector: Collector
) -> None:
    started(reporting, **sentry(collector))
    job = reporting.enqueue("fail")
    reporting.dead()
    events = sorted(collector.events(), key=lambda event: event["tags"]["longshore.attempt"])
    assert [event["exception"]["values"][-1]["value"] for event in events] == [
        "attempt 1",
        "attempt 2",
    ]
    for number, event in enumerate(events, start=1):
        tags = {name: value for name, value in event["tags"].items() if "longshore" in name}
        assert tags == {
            "longshore.job": job,
            "longshore.handler": "fail",
            "longshore.attempt": str(number),
            "longshore.queue": reporting.queue,
        }
        assert event["transaction"] == "fail"


def test_sentry_hears_only_of_failures_that_nobody_announced(
    reporting: Bench, collector: Collector
) -> None:
    worker = started(reporting, **sentry(collector))
    reporting.enqueue("well")
    for how in ("expected", "discard", "retry"):
        reporting.enqueue("announce", how=how)
    worker.wait("job-settled", handler="announce", count=4)
    failed = reporting.enqueue("fail_async")
    worker.wait("job-settled", handler="fail_async")
    assert [event["tags"]["longshore.job"] for event in collector.events()] == [failed]


def test_sentry_hears_of_a_soft_limit(reporting: Bench, collector: Collector) -> None:
    started(reporting, **sentry(collector))
    reporting.enqueue("dawdle")
    reporting.dead()
    (event,) = collector.events()
    assert event["exception"]["values"][-1]["type"] == "SoftTimeLimit"


def test_an_event_is_sent_before_its_process_can_be_killed(
    reporting: Bench, collector: Collector
) -> None:
    started(reporting, **sentry(collector))
    reporting.enqueue("fail_and_die")
    properties, _ = reporting.dead()
    assert properties.headers[DEAD_REASON] == "worker-lost"
    assert [event["exception"]["values"][-1]["value"] for event in collector.events()] == [
        "last words"
    ]


def test_what_handlers_send_to_sentry_themselves_outlives_the_processes_of_its_jobs(
    reporting: Bench, collector: Collector
) -> None:
    (reporting.directory / "telling.py").write_text(
        "import sentry_sdk\n"
        "from longshore import handler\n"
        "@handler\n"
        "def tell(number: int) -> None:\n"
        "    sentry_sdk.capture_message(f'hello {number}')\n"
    )
    settings = {**sentry(collector), "handlers": ["telling"], "isolation": "Fork"}
    worker = started(reporting, **settings)
    for number in range(5):
        reporting.enqueue("tell", number=number)
    worker.wait("job-settled", outcome="succeeded", count=5)
    assert worker.stop() == 0
    heard = sorted(json.dumps(event).partition("hello ")[2][0] for event in collector.events())
    assert heard == ["0", "1", "2", "3", "4"]


def test_sentry_reaches_out_of_children_whose_zygote_has_sent_events_too(
    reporting: Bench, collector: Collector
) -> None:
    """A thread that sent something before the fork does not exist in the child."""
    settings = sentry(collector)
    dsn = settings["env"].pop("SENTRY_DSN")
    (reporting.directory / "early.py").write_text(
        "import sentry_sdk\n"
        f"sentry_sdk.init({dsn!r}, release='theirs')\n"
        "sentry_sdk.capture_message('hello from the import')\n"
        "sentry_sdk.flush(5)\n"
    )
    settings["handlers"] = ["early", "reporting"]
    worker = started(reporting, **settings, slots=2, prefetch=2)
    for _ in range(4):
        reporting.enqueue("fail_async")
    worker.wait("job-settled", handler="fail_async", count=4)
    first, *others = collector.events()
    assert "hello from the import" in json.dumps(first)
    assert [event["exception"]["values"][-1]["value"] for event in others] == ["attempt 1"] * 4
    assert {event["release"] for event in others} == {"theirs"}


SEEN = """
from opentelemetry import baggage, trace

@handler
def seen(diary: str) -> None:
    tell(diary)

@handler
async def seen_async(diary: str) -> None:
    await asyncio.sleep(0.01)
    tell(diary)

def tell(diary):
    here = trace.get_current_span().get_span_context()
    with open(diary, "a") as file:
        print(f"{here.trace_id:032x} {here.span_id:016x} {baggage.get_baggage('k')}", file=file)
"""


@contextmanager
def producing(bench: Bench) -> Iterator[tuple[Client, SpanContext]]:
    """A producer's client within a span of its own."""
    provider = TracerProvider()
    with (
        Client(bench.broker.amqp, trace_headers=trace_headers) as client,
        provider.get_tracer("producer").start_as_current_span("press the button") as span,
    ):
        yield client, span.get_span_context()
    provider.shutdown()


@pytest.mark.parametrize("handler", ["seen", "seen_async"])
def test_a_trace_goes_from_the_producer_into_the_handler(
    reporting: Bench, collector: Collector, handler: str
) -> None:
    (reporting.directory / "reporting.py").write_text(HANDLERS + SEEN)
    started(reporting, **tracing(collector, delay=100))
    with producing(reporting) as (client, parent):
        job = client.enqueue(
            reporting.queue, handler, headers={"baggage": "k=v"}, diary=reporting.diary
        )
    (span,) = wait_for(collector.spans)
    assert span.trace_id.hex() == f"{parent.trace_id:032x}"
    assert span.parent_span_id.hex() == f"{parent.span_id:016x}"
    assert reporting.lines() == [f"{span.trace_id.hex()} {span.span_id.hex()} v"]
    assert span.kind == Span.SPAN_KIND_CONSUMER
    assert span.name == f"process longshore.jobs:{reporting.queue}"
    attributes = {
        each.key: each.value.string_value or each.value.int_value for each in span.attributes
    }
    assert attributes == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": f"longshore.jobs:{reporting.queue}",
        "messaging.rabbitmq.destination.routing_key": reporting.queue,
        "messaging.message.id": job,
        "longshore.handler": handler,
        "longshore.attempt": 1,
    }
    assert span.status.code == 0


def test_each_attempt_has_a_span_with_its_exception(reporting: Bench, collector: Collector) -> None:
    worker = started(reporting, **tracing(collector, delay=100))
    with producing(reporting) as (client, parent):
        client.enqueue(reporting.queue, "fail")
    reporting.dead()
    first, second = wait_for(lambda: spans if len(spans := collector.spans()) > 1 else None)
    for number, span in enumerate((first, second), start=1):
        assert span.parent_span_id.hex() == f"{parent.span_id:016x}"
        assert span.status.code == 2
        assert span.status.message == f"ValueError: attempt {number}"
        (event,) = span.events
        told = {each.key: each.value.string_value for each in event.attributes}
        assert (event.name, told["exception.type"]) == ("exception", "ValueError")
        assert "in fail" in told["exception.stacktrace"]
    assert not worker.events("threads-running")


def test_what_was_announced_is_no_error_of_its_span(reporting: Bench, collector: Collector) -> None:
    started(reporting, **tracing(collector, delay=100))
    reporting.enqueue("announce", how="expected")
    (span,) = wait_for(collector.spans)
    ended = {each.key: each.value.string_value for each in span.attributes}["longshore.ended_by"]
    assert (ended, span.status.code, len(span.events)) == ("KeyError", 0, 0)


def test_spans_that_wait_for_their_batch_are_sent_when_the_worker_ends(
    reporting: Bench, collector: Collector
) -> None:
    worker = started(reporting, **tracing(collector, delay=600_000), slots=2, prefetch=2)
    for _ in range(10):
        reporting.enqueue("well")
    worker.wait("job-settled", outcome="succeeded", count=10)
    assert collector.spans() == []
    assert worker.stop() == 0
    assert len(collector.spans()) == 10


def test_a_provider_that_the_handlers_set_up_is_left_in_place(
    reporting: Bench, collector: Collector
) -> None:
    """Its thread does not survive the fork; the SDK starts another in each child."""
    own = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider(resource=Resource({"service.name": "theirs"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""
    (reporting.directory / "reporting.py").write_text(HANDLERS + own)
    worker = started(reporting, **tracing(collector, delay=100), slots=2, prefetch=2)
    for _ in range(4):
        reporting.enqueue("well")
    worker.wait("job-settled", outcome="succeeded", count=4)
    wait_for(lambda: len(collector.spans()) == 4)
    assert b"theirs" in collector.posts[0][1]
    assert worker.events("threads-running")


@pytest.fixture
def deaf() -> Iterator[Collector]:
    """Takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield Collector(server.getsockname()[1])


def test_a_collector_that_never_answers_holds_up_neither_jobs_nor_the_workers_end(
    reporting: Bench, deaf: Collector
) -> None:
    worker = started(reporting, **tracing(deaf, delay=50), slots=2, prefetch=2)
    for _ in range(10):
        reporting.enqueue("well")
    worker.wait("job-settled", outcome="succeeded", count=10)
    asked = time.monotonic()
    assert worker.stop() == 0
    # Half of what its exporter would wait for.
    assert time.monotonic() - asked < 5


def test_a_sentry_that_never_answers_costs_a_failed_attempt_its_flush_and_no_more(
    reporting: Bench, deaf: Collector
) -> None:
    worker = started(reporting, **sentry(deaf))
    reporting.enqueue("fail")
    reporting.enqueue("well")
    properties, _ = reporting.dead()
    assert properties.headers[DEAD_REASON] == "max-attempts"
    assert properties.headers[ERROR] == "ValueError: attempt 2"
    worker.wait("job-settled", handler="well", outcome="succeeded")
    assert all(event["seconds"] < 5 for event in worker.events("job-settled", handler="fail"))
