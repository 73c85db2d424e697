"""Traces from producers through RabbitMQ to handlers. Needs `longshore[opentelemetry]`.

A producer hands `trace_headers` to its client; a worker's middleware `opentelemetry` does the rest.
"""

from opentelemetry import propagate


def trace_headers() -> dict[str, str]:
    """Headers that carry the current trace: `traceparent`, and where set, state and baggage.

    For `Client(..., trace_headers=trace_headers)`. Empty outside of a span.
    """
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier
