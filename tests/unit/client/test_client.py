"""Client before it connects."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from longshore import Client, InvalidAddress, InvalidJob
from longshore.producing.submission import Submission

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_importing_longshore_does_not_import_pika() -> None:
    code = (
        "import sys, longshore; print('pika' in sys.modules);"
        "longshore.Client; print('pika' in sys.modules)"
    )

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    "first",
    ["", "import longshore.handler", "import longshore.middleware", "import longshore.client"],
)
@pytest.mark.parametrize("name", ["handler", "middleware"])
def test_the_decorator_is_the_decorator_whatever_was_imported_before(first: str, name: str) -> None:
    code = f"{first}\nfrom longshore import {name}\nprint(type({name}).__name__)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "function"


def test_a_producer_imports_no_library_that_it_does_not_ask_for() -> None:
    code = "import sys, longshore; longshore.Client('amqp://h'); print(*sys.modules)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    packages = {name.split(".")[0] for name in out.stdout.split()}
    assert packages & {"longshore", "opentelemetry", "sentry_sdk"} == {"longshore"}


@pytest.mark.parametrize("url", ["", "rabbitmq:5672", "http://user:secret@host/", "amqp://h:port/"])
def test_an_address_that_is_none_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        Client(url)

    assert "secret" not in str(caught.value)


def test_an_environment_without_address_says_where_it_comes_from() -> None:
    with pytest.raises(InvalidAddress, match=r"LONGSHORE_AMQP_URL is not set.*NAME-producer"):
        Client.from_env({})


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ({"X-Amzn-Trace-Id": "Root=1", "b3": "1", "tenant": 3j}, {"b3": "1"}),
        ({"traceparent": "nonsense", "tracestate": "a=b", "CC": ["other"]}, {"tracestate": "a=b"}),
        ({1: "x", "longshore-attempt": 7}, {}),
        (None, {}),
    ],
    ids=["other-propagators", "nonsense", "reserved", "failing"],
)
def test_telemetry_never_keeps_a_job_from_being_enqueued(
    monkeypatch: pytest.MonkeyPatch, trace: Any, expected: dict[str, str]
) -> None:
    client = Client("amqp://h", trace_headers=lambda: trace)
    sent: list[Submission] = []
    monkeypatch.setattr(
        "longshore.producing.publisher.BlockingPublisher.publish",
        lambda _, job, timeout: sent.append(job),
    )

    client.enqueue("media.transcode", "transcode", headers={"own": "x"})

    headers = sent[0].properties["headers"]
    found = {name: headers[name] for name in headers if not name.startswith("longshore-")}
    assert found == expected | {"own": "x"}
    assert headers["longshore-attempt"] == 1


def test_a_timeout_must_be_a_length_of_time() -> None:
    with pytest.raises(InvalidJob, match="timeout"):
        Client("amqp://localhost", timeout="soon")


def test_making_and_closing_a_client_connects_to_nothing() -> None:
    with Client.from_env({"LONGSHORE_AMQP_URL": "amqp://no-such-host.invalid/"}):
        pass


def test_an_invalid_job_is_refused_before_connecting() -> None:
    with (
        Client("amqp://no-such-host.invalid/") as client,
        pytest.raises(InvalidJob, match="priority"),
    ):
        client.enqueue("media.transcode", "transcode", priority=99)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"traceparent": TRACE, "tracestate": "a=b"}),
        ({"tenant": "x"}, {"traceparent": TRACE, "tracestate": "a=b", "tenant": "x"}),
        ({"traceparent": OTHER_TRACE}, {"traceparent": OTHER_TRACE}),
    ],
    ids=["asked", "asked-beside-own-headers", "own-trace"],
)
def test_the_trace_of_the_moment_is_asked_for_unless_the_caller_gives_one(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: dict[str, str]
) -> None:
    client = Client("amqp://h", trace_headers=lambda: {"traceparent": TRACE, "tracestate": "a=b"})
    sent: list[Submission] = []
    monkeypatch.setattr(
        "longshore.producing.publisher.BlockingPublisher.publish",
        lambda _, job, timeout: sent.append(job),
    )

    client.enqueue("media.transcode", "transcode", headers=given)

    headers = sent[0].properties["headers"]
    assert {name: headers[name] for name in headers if "longshore" not in name} == expected
