"""Middleware `opentelemetry`: a span for each attempt, a child of the span that enqueued the job.

Unless the handlers' modules have set a tracer provider, spans are sent by OTLP over HTTP to
`OTEL_EXPORTER_OTLP_ENDPOINT`; all other `OTEL_…` variables of the SDK apply too. A thread sends
spans in batches. A fork copies no threads, so each child starts its own at its first job, and sends
the remaining spans when it ends by itself. A child that is killed loses the spans of its last
seconds (`OTEL_BSP_SCHEDULE_DELAY`, 5000 ms) and the span of the job because of which it was killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from longshore.contract.message import TRACEPARENT
from longshore.contract.names import JOBS_EXCHANGE
from longshore.handler import Job
from longshore.integrations.opentelemetry import PROPAGATOR

_BESIDE = ("tracestate", "baggage")


class Tracing:
    """The middleware. Names follow OpenTelemetry's conventions for messaging and RabbitMQ."""

    def __init__(self) -> None:
        self._unsent: TracerProvider | None = None
        """Our provider, until a processor that sends its spans is added."""

        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            self._unsent = TracerProvider()
            trace.set_tracer_provider(self._unsent)
        self._tracer = trace.get_tracer("longshore")

    @contextmanager
    def __call__(self, job: Job) -> Iterator[None]:
        if self._unsent:
            self._unsent.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            self._unsent = None
        token = context.attach(PROPAGATOR.extract(_carrier(job)))
        try:
            with self._tracer.start_as_current_span(
                f"process {_destination(job)}",
                kind=SpanKind.CONSUMER,
                attributes=_attributes(job),
                record_exception=False,  # it would miss what is not an Exception
                set_status_on_exception=False,
            ) as span:
                try:
                    yield
                except BaseException as error:
                    _record(span, job, error)
                    raise
        finally:
            context.detach(token)

    def close(self) -> None:
        """Send the spans that are still buffered."""
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.force_flush()


def _carrier(job: Job) -> dict[str, str]:
    headers = {name: job.headers.get(name) for name in _BESIDE} | {TRACEPARENT: job.traceparent}
    return {name: value for name, value in headers.items() if isinstance(value, str)}


def _destination(job: Job) -> str:
    # As the conventions require: the exchange and the routing key, which is the queue's name.
    return f"{JOBS_EXCHANGE}:{job.queue}"


def _attributes(job: Job) -> dict[str, str | int]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": _destination(job),
        "messaging.rabbitmq.destination.routing_key": job.queue,
        "messaging.message.id": job.id,
        "longshore.handler": job.handler,
        "longshore.attempt": job.attempt,
    }


def _record(span: Span, job: Job, error: BaseException) -> None:
    kind = type(error).__qualname__
    if job.expects(error):
        span.set_attribute("longshore.ended_by", kind)
        return
    span.record_exception(error)
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, f"{kind}: {error}"))


middleware = Tracing()
