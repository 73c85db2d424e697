"""Traces from producers through RabbitMQ to handlers. Needs `longshore[opentelemetry]`.

A producer hands `trace_headers` to its client; a worker's middleware `opentelemetry` does the rest.
"""

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
"""The wire format has W3C's headers, whatever `OTEL_PROPAGATORS` chooses for other protocols."""


def trace_headers() -> dict[str, str]:
    """Headers that carry the current trace: `traceparent`, and where set, state and baggage.

    For `Client(..., trace_headers=trace_headers)`. Empty outside of a span.
    """
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier)
    return carrier
