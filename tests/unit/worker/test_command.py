"""What a command is given, without running one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from longshore.binding import NotAnObject
from longshore.errors import HandlerError
from longshore.handler import Job
from longshore.worker.child import command
from longshore.worker.child.command import Command, Commands

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "id": "j-1",
        "handler": "transcode",
        "attempt": 2,
        "max_attempts": 3,
        "queue": "media.transcode",
        "enqueued_at": MOMENT,
        "deadline": MOMENT,
        **changes,
    }
    return Job(**values)


def test_headers_that_json_has_no_word_for_become_text() -> None:
    headers = {"at": MOMENT, "price": Decimal("1.10"), "raw": b"\xff", "deep": {"raw": b"ok"}}
    document = json.loads(b"".join(command._document(job(headers=headers), b"{}")))
    assert document["headers"] == {
        "at": "2026-01-02 03:04:05.678901+00:00",
        "price": "1.10",
        "raw": "\\xff",
        "deep": {"raw": "ok"},
    }
    assert document["deadline"] == "2026-01-02T03:04:05.678Z"
    assert document["traceparent"] is None


def test_a_trace_of_the_workers_own_does_not_pass_for_the_jobs() -> None:
    assert command._environment(job())["TRACEPARENT"] == ""


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{]", b'{"a": Infinity}', b"\xff\xfe{\0}\0"),
        *(b'{"a": "\xff"}', b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
)
def test_only_an_object_is_a_job(body: bytes) -> None:
    program = Command(program="/bin/true", words=("true",))
    with pytest.raises(NotAnObject, match="the body is not a JSON object"):
        program.arguments(body)


def test_every_name_is_answered_by_the_same_program() -> None:
    commands = Commands(["sh", "-c", "exit"])
    assert commands["a"] == commands["b"]
    assert commands["a"].program.endswith("/sh")
    assert commands["a"].words == ("sh", "-c", "exit")


def test_a_program_that_is_not_there_is_named_with_the_path_that_was_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere:/else")
    with pytest.raises(HandlerError, match="no executable 'sh' in PATH, which is '/nowhere:/else'"):
        Commands(["sh"])
