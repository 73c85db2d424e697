"""The worker's log: whatever is to be logged is one line of JSON, and nobody who logs is hurt."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import pytest

from longshore.logs import LogWriter


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __repr__


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def reject(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), deep(5000), Unspeakable(), "\udcff", {1: Unspeakable()}, b"\xff"],
    ids=["nan", "inf", "deep", "unspeakable", "surrogate", "inside", "bytes"],
)
def test_what_json_cannot_say_is_logged_all_the_same(value: Any) -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    writer._thread.start()
    record = logging.makeLogRecord({"msg": "progress", "levelname": "INFO"})
    record.fields = {"job": "j-1", "value": value, "nothing": None}
    writer.emit(record)
    writer.stop()
    os.close(writing)
    with os.fdopen(reading) as file:
        (line,) = file.read().splitlines()
    fields = json.loads(line, parse_constant=reject)
    assert (fields["event"], fields["level"], fields["job"]) == ("progress", "info", "j-1")
    assert "value" in fields
    assert "nothing" not in fields
