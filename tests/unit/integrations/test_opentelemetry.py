"""Traces, whatever propagators the process has been given for other protocols."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from longshore.integrations.opentelemetry import PROPAGATOR, trace_headers

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class XRay(TextMapPropagator):
    """As that of AWS: one header of its own, and W3C's unread."""

    def inject(self, carrier: Any, *_: Any, **__: Any) -> None:
        carrier["X-Amzn-Trace-Id"] = "Root=1-63441c4a-abcdef012345678912345678"

    def extract(self, carrier: Any, context: Any = None, *_: Any, **__: Any) -> Any:
        return context

    @property
    def fields(self) -> set[str]:
        return {"X-Amzn-Trace-Id"}


def test_a_job_carries_w3c_headers_whatever_the_global_propagator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", XRay())
    span = NonRecordingSpan(
        SpanContext(
            int("4bf92f3577b34da6a3ce929d0e0e4736", 16),
            int("00f067aa0ba902b7", 16),
            is_remote=False,
            trace_flags=TraceFlags(1),
        )
    )
    token = context.attach(baggage.set_baggage("tenant", "a", trace.set_span_in_context(span)))
    try:
        headers = trace_headers()
    finally:
        context.detach(token)

    assert headers == {"traceparent": TRACE, "baggage": "tenant=a"}
    found = trace.get_current_span(PROPAGATOR.extract(headers)).get_span_context()
    assert found.trace_id == span.get_span_context().trace_id
