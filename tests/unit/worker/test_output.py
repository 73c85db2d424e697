from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from longshore.worker.parent.output import MAX_PER_JOB, TAIL, Output


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.output = Output(self.reading)


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
    assert pipe.output.read(None)
    os.write(pipe.writing, b"o\nrest \xff")
    assert pipe.output.finish(None) == "one\ntwo\nrest �"
    assert lines(caplog) == ["one", "two", "rest �"]


def test_a_flood_is_read_but_not_logged(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    total = 0
    while total < 4 * MAX_PER_JOB:
        total += os.write(pipe.writing, (b"x" * 99 + b"\n") * 500)
        pipe.output.read(None)
    tail = pipe.output.finish(None)
    assert len(tail) == TAIL
    logged = sum(len(line) + 1 for line in lines(caplog))
    assert logged <= MAX_PER_JOB + 8192
    dropped = [r.fields["bytes"] for r in caplog.records if r.message == "output-dropped"]
    assert dropped
    assert abs(logged + dropped[0] - total) <= 100
    caplog.clear()
    os.write(pipe.writing, b"the next job\n")
    pipe.output.finish(None)
    assert lines(caplog) == ["the next job"]


def test_the_end_of_the_pipe_is_told(pipe: Pipe) -> None:
    spare = os.dup(pipe.writing)
    os.close(pipe.writing)
    assert pipe.output.read(None)
    os.close(spare)
    assert not pipe.output.read(None)
    pipe.writing = os.open(os.devnull, os.O_RDONLY)
