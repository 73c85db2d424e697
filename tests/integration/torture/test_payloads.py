"""Messages as large as they get, and messages that are no jobs."""

from __future__ import annotations

import json
import struct
from collections import Counter
from typing import Any

import pika
import pytest

from longshore.contract.message import (
    ATTEMPT,
    DEAD_REASON,
    ENQUEUED_AT,
    ERROR,
    EXPIRES_AT,
    UNDECODABLE_HEADERS,
)
from longshore.contract.names import JOBS_EXCHANGE
from tests.integration.worker.workers import Bench

pytestmark = pytest.mark.integration

MOST = 16 * 1024 * 1024
"""Bytes of a message's body that RabbitMQ takes unless it is told otherwise."""

JSON = {"type": "write", "content_type": "application/json"}


@pytest.mark.parametrize("size", [50_000, 1_048_576, MOST])
def test_bodies_of_any_size_arrive(bench: Bench, size: int) -> None:
    """Up to RabbitMQ's own limit, to the byte; and on to the dead letters, byte for byte."""
    worker = bench.started(retry={"initial_delay": 0.0, "max_attempts": 2})
    empty = json.dumps({"diary": bench.diary, "data": ""}).encode()
    body = empty.replace(b'""', b'"' + b"x" * (size - len(empty)) + b'"')
    assert len(body) == size
    bench.enqueue("measure", body=body)
    worker.wait("job-settled", outcome="succeeded")
    bench.enqueue("fail_with", body=body)
    assert bench.dead()[1] == body
    length = size - len(empty)
    assert bench.lines() == [str(length), f"1 {length}", f"2 {length}"]


NO_JOBS: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "bytes": (b"\xff\xfe\x00", JSON, "JSON"),
    "list": (b"[1, 2]", JSON, "JSON object"),
    "empty": (b"", JSON, "JSON"),
    "deep": (b"[" * 100_000, JSON, "JSON"),
    "content type": (b'{"a": 1}', {**JSON, "content_type": "text/plain"}, "content_type"),
    "no type": (b"{}", {"content_type": "application/json"}, "'type'"),
    "type is bytes": (b"{}", {**JSON, "type": b"\xff\xfe"}, "'type'"),
    "attempt is text": (
        b"{}",
        {**JSON, "headers": {ATTEMPT: "many", "mine": [1, {"a": b"x"}]}},
        ATTEMPT,
    ),
    "attempt is negative": (b"{}", {**JSON, "headers": {ATTEMPT: -1}}, ATTEMPT),
    "attempt is huge": (b"{}", {**JSON, "headers": {ATTEMPT: 2**63 - 1}}, ATTEMPT),
    "time is a table": (b"{}", {**JSON, "headers": {ENQUEUED_AT: {"then": None}}}, ENQUEUED_AT),
    "time is huge": (b"{}", {**JSON, "headers": {ENQUEUED_AT: 2**63 - 1}}, ENQUEUED_AT),
    "expiry is a boolean": (b"{}", {**JSON, "headers": {EXPIRES_AT: True}}, EXPIRES_AT),
    "name of a header": (b"{}", {**JSON, "headers": {b"\xff\xfe": 1, ATTEMPT: "many"}}, ATTEMPT),
}


def test_what_is_no_job_is_dead_with_its_bytes_untouched(bench: Bench) -> None:
    """Never a crash, never a second attempt, and the next job is done."""
    worker = bench.started(slots=2, prefetch=4)
    for name, (body, properties, _) in NO_JOBS.items():
        bench.publish(body, correlation_id="c-1", app_id="theirs", message_id=name, **properties)
    letters = [bench.dead() for _ in NO_JOBS]
    assert {properties.message_id for properties, _ in letters} == set(NO_JOBS)
    for dead, dead_body in letters:
        body, properties, complaint = NO_JOBS[dead.message_id]
        case = (dead.message_id, dead.headers)
        assert dead_body == body, case
        assert dead.headers[DEAD_REASON] == "undecodable", case
        assert complaint in dead.headers[ERROR], case
        assert (dead.correlation_id, dead.app_id) == ("c-1", "theirs"), case
        assert dead.type == properties.get("type"), case
        assert dead.content_type == properties["content_type"], case
        assert properties.get("headers", {}).items() <= dead.headers.items(), case
    bench.enqueue("write", diary=bench.diary)
    worker.wait("job-settled", outcome="succeeded")
    assert not worker.events("job-settled", outcome="retried")
    assert not worker.events("consumer-lost")
    assert worker.stop() == 0
    assert bench.is_empty()


def test_an_id_that_is_no_text_is_undecodable(bench: Bench) -> None:
    worker = bench.started()
    bench.publish(json.dumps({"diary": bench.diary}).encode(), message_id=b"\xff\xfe", **JSON)
    dead, _ = bench.dead()
    assert dead.headers[DEAD_REASON] == "undecodable"
    assert "message_id" in dead.headers[ERROR]
    assert dead.message_id == b"\xff\xfe"
    assert bench.lines() == []
    assert not worker.events("consumer-lost")


def test_arguments_that_fit_no_version_are_dead_and_never_retried(bench: Bench) -> None:
    worker = bench.started(retry={"defer_for": 0.0})
    bench.enqueue("add", diary=bench.diary, first="one", second=2)
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "invalid-arguments"
    assert "first: Input should be a valid integer" in properties.headers[ERROR]
    assert not worker.events("job-settled", outcome="retried")
    assert bench.lines() == []


def test_a_job_without_handler_in_any_version_is_dead(bench: Bench) -> None:
    bench.started(retry={"defer_for": 0.0})
    bench.enqueue("no.such.handler")
    properties, _ = bench.dead()
    assert properties.headers[DEAD_REASON] == "unknown-handler"
    assert "'no.such.handler'" in properties.headers[ERROR]


@pytest.mark.parametrize("handler", ["fail", "discard", "snooze_once"])
def test_a_job_whose_headers_come_in_and_cannot_go_out_is_dead(bench: Bench, handler: str) -> None:
    """A double of 1e30 is an integer of 100 bits when pika has read it, and AMQP has none such."""
    worker = bench.started()
    body = json.dumps({} if handler == "discard" else {"diary": bench.diary}).encode()
    properties = {**JSON, "type": handler, "message_id": "m-1"}
    bench.broker.channel.basic_publish(
        JOBS_EXCHANGE, bench.queue, body, Double(1e30, correlation_id="c-1", **properties)
    )
    dead, dead_body = bench.dead()
    assert dead_body == body
    assert dead.headers[DEAD_REASON] == "undecodable"
    assert "theirs" in dead.headers[UNDECODABLE_HEADERS].decode()
    assert (dead.type, dead.message_id, dead.correlation_id) == (handler, "m-1", "c-1")
    assert worker.stop() == 0
    assert bench.is_empty()


@pytest.mark.parametrize("size", [60_000, 131_090])
def test_a_job_with_as_many_headers_as_a_frame_holds_is_tried_again(
    bench: Bench, size: int
) -> None:
    """Its next attempt has headers of ours beside them, and one byte too many ends a connection."""
    worker = bench.started(retry={"initial_delay": 0.0, "max_attempts": 2})
    body = json.dumps({"diary": bench.diary}).encode()
    headers = {f"h{number}": "x" * 1000 for number in range(size // 1010)}
    headers["rest"] = "x" * (size - 1010 * len(headers))
    bench.publish(body, message_id="m-1", headers=headers, **{**JSON, "type": "fail"})
    dead, dead_body = bench.dead()
    assert dead_body == body
    assert dead.headers[DEAD_REASON] in ("max-attempts", "undecodable")
    assert not worker.events("publisher-lost")
    assert worker.stop() == 0
    assert bench.is_empty()


class Double(pika.BasicProperties):  # type: ignore[misc]  # pika ships no types
    """Properties with one header that is a double, which pika itself cannot write."""

    _PLACEHOLDER = 2**62 + 54321

    def __init__(self, value: float, **properties: object) -> None:
        super().__init__(headers={"theirs": self._PLACEHOLDER}, **properties)
        self._double = b"d" + struct.pack(">d", value)

    def encode(self) -> list[bytes]:
        encoded = b"".join(super().encode())
        return [encoded.replace(b"l" + struct.pack(">q", self._PLACEHOLDER), self._double)]


def test_all_that_a_producer_wrote_into_properties_stays_with_its_job(bench: Bench) -> None:
    bench.started(retry={"initial_delay": 0.0, "max_attempts": 2})
    sent: dict[str, Any] = {
        "correlation_id": "order-7",
        "reply_to": "answers",
        "app_id": "shop",
        "content_encoding": "utf-8",
        "timestamp": 1000,
        "priority": 3,
    }
    body = json.dumps({"diary": bench.diary}).encode()
    given = {**JSON, **sent, "type": "fail", "user_id": "guest", "expiration": "60000"}
    bench.publish(body, **given)
    letter, _ = bench.dead()
    assert {name: getattr(letter, name) for name in sent} == sent
    assert letter.headers["longshore-user-id"] == "guest"
    assert letter.headers["longshore-expiration"] == "60000"
    assert letter.expiration is None


def test_jobs_that_share_an_id_are_jobs_of_their_own(bench: Bench) -> None:
    """P43. Some producers give several jobs one id; each of them runs, fails and ends by itself."""
    worker = bench.started(slots=2, prefetch=4, retry={"initial_delay": 0.0, "max_attempts": 2})
    for number in range(4):
        body = json.dumps({"diary": bench.diary, "text": str(number)}).encode()
        bench.publish(body, message_id="m-1", **JSON)
        bench.publish(b"{}", message_id="m-1", **{**JSON, "type": "discard"})
    body = json.dumps({"diary": bench.diary}).encode()
    bench.publish(body, message_id="m-1", **{**JSON, "type": "fail"})
    letters = [properties for properties, _ in (bench.dead() for _ in range(5))]
    assert [dead.message_id for dead in letters] == ["m-1"] * 5
    assert Counter(dead.type for dead in letters) == {"discard": 4, "fail": 1}
    worker.wait("job-settled", count=4, outcome="succeeded")
    assert sorted(bench.lines()) == ["0 1", "1", "1 1", "2", "2 1", "3 1"]
    assert worker.stop() == 0
    assert bench.is_empty()
