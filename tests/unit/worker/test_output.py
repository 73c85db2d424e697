from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.output import MAX_PER_JOB, TAIL, Output
from longshore.worker.parent.work import Work

BOUNDARY = b"\0boundary\n"


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.output = Output(self.reading, boundary=BOUNDARY)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.writing)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.fields["line"] for r in caplog.records if r.message == "output"]


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_lines_come_out_whole(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    os.write(pipe.writing, b"one\ntw")
    assert pipe.output.read([])
    os.write(pipe.writing, b"o\nrest \xff")
    assert pipe.output.finish([]) == "one\ntwo\nrest �"
    assert lines(caplog) == ["one", "two", "rest �"]


def test_a_flood_is_read_but_not_logged(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    total = 0
    while total < 4 * MAX_PER_JOB:
        total += os.write(pipe.writing, (b"x" * 99 + b"\n") * 500)
        pipe.output.read([])
    tail = pipe.output.finish([])
    assert len(tail) == TAIL
    logged = sum(len(line) + 1 for line in lines(caplog))
    assert logged <= MAX_PER_JOB + 8192
    dropped = [r.fields["bytes"] for r in caplog.records if r.message == "output-dropped"]
    assert dropped
    assert abs(logged + dropped[0] - total) <= 100
    caplog.clear()
    os.write(pipe.writing, b"the next job\n")
    pipe.output.finish([])
    assert lines(caplog) == ["the next job"]


def test_the_end_of_the_pipe_is_told(pipe: Pipe) -> None:
    spare = os.dup(pipe.writing)
    os.close(pipe.writing)
    assert pipe.output.read([])
    os.close(spare)
    assert not pipe.output.read([])
    pipe.writing = os.open(os.devnull, os.O_RDONLY)


def work(number: int) -> Work:
    delivery: Any = None
    message = Message(id=f"j-{number}", handler="h", body=b"{}", enqueued_at=0)
    return Work(ticket=number, delivery=delivery, message=message, max_attempts=3, hard_limit=1.0)


def test_lines_are_charged_to_the_job_that_wrote_them(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    busy = [work(number) for number in range(4)]
    said = b"one\nhalf" + BOUNDARY + BOUNDARY + b"three\n" + BOUNDARY + b"four, live\n"
    for start in range(0, len(said), 5):
        os.write(pipe.writing, said[start : start + 5])
        pipe.output.read(busy)
    for _ in range(3):
        pipe.output.settle(busy)
        busy.pop(0)
    os.write(pipe.writing, b"last words")
    assert pipe.output.finish(busy) == "four, live\nlast words"
    told = [(r.fields["job"], r.fields["line"]) for r in caplog.records]
    assert told == [
        ("j-0", "one"),
        ("j-0", "half"),
        ("j-2", "three"),
        ("j-3", "four, live"),
        ("j-3", "last words"),
    ]


def test_each_job_has_a_limit_of_its_own(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    busy = [work(0), work(1)]
    total = 0
    while total < 2 * MAX_PER_JOB:
        total += os.write(pipe.writing, (b"x" * 99 + b"\n") * 500)
        pipe.output.read(busy)
    os.write(pipe.writing, BOUNDARY + b"the next job\n" + BOUNDARY)
    pipe.output.settle(busy)
    dropped = [r.fields for r in caplog.records if r.message == "output-dropped"]
    assert [each["job"] for each in dropped] == ["j-0"]
    assert lines(caplog)[-1] == "the next job"


def test_a_boundary_within_a_line_without_end_is_found(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    busy = [work(0), work(1)]
    for cut in range(1, len(BOUNDARY)):
        os.write(pipe.writing, b"y" * 20_000 + BOUNDARY[:cut])
        pipe.output.read(busy)
        os.write(pipe.writing, BOUNDARY[cut:])
        pipe.output.settle(busy)
    assert {line.strip("y") for line in lines(caplog)} == {""}


def test_each_job_is_told_the_end_of_its_own_output(pipe: Pipe) -> None:
    busy = [work(number) for number in range(4)]
    os.write(pipe.writing, b"one\nmore" + BOUNDARY + BOUNDARY + b"three\n")
    assert pipe.output.read(busy)
    ends = [pipe.output.settle([work(number)]) for number in range(2)]
    # The third wrote no boundary before its end was known.
    ends.append(pipe.output.settle([work(2)]))
    os.write(pipe.writing, BOUNDARY + b"four" + BOUNDARY)
    ends.append(pipe.output.settle([work(3)]))
    assert ends == ["one\nmore", "", "", "four"]
