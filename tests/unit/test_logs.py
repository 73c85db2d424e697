"""One format for both images: whatever is logged is one line of JSON, and logging never raises."""

from __future__ import annotations

import datetime
import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from longshore.logs import JsonLines, Log, Stamp, install
from longshore_operator.logs import configure

MOMENT = 1_700_000_000.5
"""2023-11-14 22:13:20.5 UTC."""


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


@pytest.fixture
def root() -> Iterator[None]:
    """The standard library's logging, as it was before."""
    loggers = [logging.getLogger(name) for name in (None, "pika", "kopf.objects", "aiohttp.access")]
    loggers.append(logging.getLogger("kopf.activities"))
    before = [(each, each.level, each.handlers[:]) for each in loggers]
    yield
    for each, level, handlers in before:
        each.setLevel(level)
        each.handlers[:] = handlers


def as_a_worker(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    install(handler, level=logging.INFO)


def as_the_operator(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure(level="info", form="json")


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("begin", [as_a_worker, as_the_operator])
def test_both_images_write_the_same_lines(
    begin: Callable[[io.StringIO, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    begin(stream, monkeypatch)

    Log("longshore.test").warning("job-settled", job="j-1", nothing=None)
    logging.getLogger("some.library").warning("took %d s", 3)
    logging.getLogger("some.library").warning("%d words missing", "no")

    own, others, broken = map(json.loads, stream.getvalue().splitlines())
    assert own.keys() == {"time", "level", "event", "job"}
    assert (own["level"], own["event"], own["job"]) == ("warning", "job-settled", "j-1")
    assert list(others) == ["time", "level", "event", "logger", "message"]
    assert (others["event"], others["logger"]) == ("message-logged", "some.library")
    assert others["message"] == "took 3 s"
    assert broken["message"].startswith("%d words missing (TypeError")


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("root", "tokyo")
def test_for_a_terminal_the_operator_writes_the_same_as_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure(level="info", form="text")

    Log("longshore.test").info("broker-connected", broker="main", version=None)
    try:
        dict[str, str]()["gone"]
    except KeyError:
        logging.getLogger("some.library").exception("took %d s", 3)

    own, others, *traceback = stream.getvalue().splitlines()
    assert own.split("+00:00 ")[1] == "INFO    broker-connected broker='main'"
    assert others.split("+00:00 ")[1] == (
        "ERROR   message-logged logger='some.library' message='took 3 s'"
    )
    assert traceback[-1] == "KeyError: 'gone'"


@pytest.mark.usefixtures("tokyo")
def test_the_time_is_utc_with_its_zone_wherever_the_process_runs() -> None:
    record = logging.makeLogRecord({"msg": "said", "levelname": "INFO", "created": MOMENT})

    line = json.loads(JsonLines().format(record))

    assert line["time"] == "2023-11-14T22:13:20.500+00:00" == Stamp(lambda: MOMENT)()
    assert datetime.datetime.fromisoformat(line["time"]).timestamp() == MOMENT


def test_a_stamp_follows_its_clock() -> None:
    now = iter([MOMENT, MOMENT, MOMENT + 0.001, MOMENT + 1.25])
    stamp = Stamp(lambda: next(now))

    seen = [stamp() for _ in range(4)]

    assert [each[17:23] for each in seen] == ["20.500", "20.500", "20.501", "21.750"]


@pytest.mark.usefixtures("root")
def test_the_traceback_of_what_is_being_handled_is_logged() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    install(handler, level=logging.INFO)
    try:
        dict[str, str]()["gone"]
    except KeyError as error:
        Log("longshore.test").exception("tick-crashed", task_queue="a.b")
        Log("longshore.test").warning("patrol-failed", exc_info=error)
        Log("longshore.test").warning("patrol-failed", exc_info=False)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [each["level"] for each in lines] == ["error", "warning", "warning"]
    assert [each.get("traceback", "")[-16:] for each in lines] == ["KeyError: 'gone'"] * 2 + [""]


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), deep(5000), Unspeakable(), "\udcff", {1: Unspeakable()}, b"\xff"],
    ids=["nan", "inf", "deep", "unspeakable", "surrogate", "inside", "bytes"],
)
def test_what_json_cannot_say_is_logged_all_the_same(value: Any) -> None:
    record = logging.makeLogRecord({"msg": "job-progressed", "levelname": "INFO"})
    record.fields = {"job": "j-1", "value": value, "nothing": None}

    (line,) = JsonLines().format(record).splitlines()

    fields = json.loads(line, parse_constant=reject)
    assert (fields["event"], fields["level"], fields["job"]) == ("job-progressed", "info", "j-1")
    assert "value" in fields
    assert "nothing" not in fields
