from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.children.output import MAX_LINES, MAX_PER_JOB, TAIL, Output, Turn
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import END, TOLD_IN_A_RECORD, Ended, Status

MARK = b"\0boundary"
BOUNDARY = MARK + TOLD_IN_A_RECORD


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.told: list[str] = []
        self.output = Output(self.reading, boundary=MARK, put=self.told.append)

    def lines(self) -> list[str]:
        return [json.loads(line)["line"] for line in self.told]

    def read(self, busy: list[Work]) -> Turn:
        """Turns until nothing is left for now."""
        while (turn := self.output.read(busy)) is Turn.MORE:
            pass
        return turn

    def settle(self, busy: list[Work]) -> str:
        while self.output.seek(busy) is None:
            pass
        return self.output.take_told()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.writing)


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_lines_come_out_whole(pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    os.write(pipe.writing, b"one\ntw")
    assert pipe.read([]) is Turn.DRY
    os.write(pipe.writing, b"o\nrest \xff")
    pipe.read([])
    assert pipe.output.finish([]) == "one\ntwo\nrest �"
    assert pipe.lines() == ["one", "two", "rest �"]


@pytest.mark.parametrize("line", [b"\n", b".\n", b"x" * 99 + b"\n", b"\0" * 40 + b"\n"])
def test_a_flood_is_read_and_a_bounded_part_of_it_logged(
    pipe: Pipe, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    total = 0
    while total < 2 * MAX_PER_JOB:
        total += os.write(pipe.writing, line * (60_000 // len(line)))
        pipe.read([])
    assert len(pipe.output.finish([])) == TAIL
    assert sum(map(len, pipe.told)) <= MAX_PER_JOB + 8192
    logged = sum(len(each) + 1 for each in pipe.lines())
    (dropped,) = (
        vars(r)["fields"]["bytes"] for r in caplog.records if r.message == "output-dropped"
    )
    assert logged + dropped == total
    pipe.told.clear()
    os.write(pipe.writing, b"the next job\n")
    pipe.read([])
    pipe.output.finish([])
    assert pipe.lines() == ["the next job"]


def test_a_turn_logs_a_bounded_number_of_lines(pipe: Pipe) -> None:
    os.write(pipe.writing, b"\n" * 60_000)
    for turn in range(1, 5):
        assert pipe.output.read([]) is Turn.MORE
        assert len(pipe.told) <= turn * MAX_LINES
    assert pipe.told


def test_the_end_of_a_job_waits_for_its_lines(pipe: Pipe) -> None:
    busy = [work(0), work(1)]
    os.write(pipe.writing, b"\n" * (4 * MAX_LINES) + b"last" + BOUNDARY + b"next\n")
    assert pipe.output.seek(busy) is None
    assert pipe.settle(busy).endswith("\nlast")
    assert pipe.lines()[-2:] == ["last", "next"]


def test_the_end_of_the_pipe_is_told(pipe: Pipe) -> None:
    spare = os.dup(pipe.writing)
    os.close(pipe.writing)
    assert pipe.read([]) is Turn.DRY
    os.close(spare)
    assert pipe.read([]) is Turn.END
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
        pipe.read(busy)
    for _ in range(3):
        pipe.settle(busy)
        busy.pop(0)
    os.write(pipe.writing, b"last words")
    pipe.read(busy)
    assert pipe.output.finish(busy) == "four, live\nlast words"
    told = [(each["job"], each["line"]) for each in map(json.loads, pipe.told)]
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
        pipe.read(busy)
    os.write(pipe.writing, BOUNDARY + b"the next job\n" + BOUNDARY)
    pipe.settle(busy)
    pipe.read(busy[1:])
    dropped = [vars(r)["fields"] for r in caplog.records if r.message == "output-dropped"]
    assert [each["job"] for each in dropped] == ["j-0"]
    assert pipe.lines()[-1] == "the next job"


def test_a_boundary_within_a_line_without_end_is_found(
    pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    busy = [work(0), work(1)]
    for cut in range(1, len(BOUNDARY)):
        os.write(pipe.writing, b"y" * 20_000 + BOUNDARY[:cut])
        pipe.read(busy)
        os.write(pipe.writing, BOUNDARY[cut:])
        pipe.settle(busy)
    assert {line.strip("y") for line in pipe.lines()} == {""}


def test_each_job_is_told_the_end_of_its_own_output(pipe: Pipe) -> None:
    busy = [work(number) for number in range(4)]
    os.write(pipe.writing, b"one\nmore" + BOUNDARY + BOUNDARY + b"three\n")
    pipe.read(busy)
    ends = [pipe.settle([work(number)]) for number in range(2)]
    # The third wrote no boundary before its end was known.
    ends.append(pipe.settle([work(2)]))
    os.write(pipe.writing, BOUNDARY + b"four" + BOUNDARY)
    ends.append(pipe.settle([work(3)]))
    assert ends == ["one\nmore", "", "", "four"]
    assert pipe.output.is_broken


def test_successes_are_told_with_the_ends_of_their_output(pipe: Pipe) -> None:
    busy = [work(number) for number in range(1, 7)]
    os.write(pipe.writing, success(1) + success(2))
    os.write(pipe.writing, b"three\n" + success(3) + BOUNDARY + success(5) + b"six\n")
    pipe.read(busy)
    assert [*told(pipe)] == [("", 1), ("", 2), ("three\n", 3)]
    assert pipe.settle(busy[3:]) == ""
    assert [*told(pipe)] == [("", 5)]
    assert [json.loads(line)["job"] for line in pipe.told] == ["j-3", "j-6"]
    assert not pipe.output.is_broken


@pytest.mark.parametrize("cut", range(1, len(MARK) + END.size))
def test_a_success_is_found_whatever_the_pieces(pipe: Pipe, cut: int) -> None:
    busy = [work(1), work(2)]
    os.write(pipe.writing, success(1)[:cut])
    pipe.read(busy)
    assert not pipe.output.has_success
    os.write(pipe.writing, success(1)[cut:] + success(2))
    pipe.read(busy)
    assert [*told(pipe)] == [("", 1), ("", 2)]
    assert not pipe.told


def test_a_success_behind_more_than_a_turn_logs_is_seen(pipe: Pipe) -> None:
    busy = [work(1)]
    os.write(pipe.writing, b"\n" * 60_000 + success(1))
    assert pipe.output.read(busy) is Turn.MORE
    assert not pipe.output.has_success_ahead, "nobody has looked"
    pipe.output.absorb()
    assert pipe.output.has_success_ahead
    pipe.read(busy)
    assert [ticket for _, ticket in told(pipe)] == [1]
    assert not pipe.output.has_success_ahead


def test_a_success_ahead_is_of_the_first_job_alone(pipe: Pipe) -> None:
    os.write(pipe.writing, b"x\n" + BOUNDARY + success(2))
    pipe.output.absorb()
    assert not pipe.output.has_success_ahead, "a record has to tell of the first"


def test_a_success_is_no_boundary_that_came_too_late(pipe: Pipe) -> None:
    assert pipe.settle([work(1)]) == ""
    os.write(pipe.writing, success(2))
    pipe.read([work(2)])
    assert [*told(pipe)] == [("", 2)]


def success(number: int) -> bytes:
    return MARK + END.pack(number, 0.5)


def told(pipe: Pipe) -> Iterator[tuple[str, int]]:
    while end := pipe.output.take_success():
        tail, record = end
        assert record == Ended(record.ticket, Status.SUCCEEDED, 0.5)
        yield tail, record.ticket
