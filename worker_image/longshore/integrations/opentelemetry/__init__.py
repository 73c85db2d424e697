"""Traces from producers through RabbitMQ to handlers. Needs `longshore[opentelemetry]`.

A producer passes `trace_headers` to its client; a worker uses the middleware `opentelemetry`.
"""

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
"""The wire format uses W3C's headers, whatever `OTEL_PROPAGATORS` selects for other protocols."""


def trace_headers() -> dict[str, str]:
    """Return the headers that carry the current trace: `traceparent`, and if set, state and
    baggage.

    For `Client(..., trace_headers=trace_headers)`. Empty outside of a span.
    """
    carrier: dict[str, str] = {}
    PROPAGATOR.inject(carrier)
    return carrier
