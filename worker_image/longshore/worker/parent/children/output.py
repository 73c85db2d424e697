"""What a child's jobs write, from its pipe into the worker's log.

Jobs choose how much they write and in how many lines, so each turn of the event loop takes a
bounded amount of it, and each job may have so much of the log.
"""

import json
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from json.encoder import encode_basestring_ascii as quoted

from longshore.logs import Log, Stamp
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import END, Ended, Status

MAX_PER_JOB = 1024 * 1024
"""Bytes of log that one job may fill with its output, time and job's fields included: an empty line
takes some 170. The rest is counted."""

TAIL = 8192
"""Bytes kept of the end, for the dead letter of a job that crashed."""

MAX_LINES = 256
MAX_TURN = 0.002
"""Lines that one turn of the event loop logs for a child, and seconds that it takes for them: nine
children that write without end leave a kill and a probe some 20 ms to wait."""

_PIECE = 65_536
_MAX_LINE = 8192
_PIECES_OF_A_TURN = 4
_LINES_A_LOOK = 32
"""Lines between two looks at the clock."""

_PIECES_OF_A_FULL_PIPE = 17
"""A pipe holds 64 KiB; a job may have made it 1 MiB."""

log = Log("longshore.output")


class Turn(Enum):
    """How a turn at a child's output has ended."""

    DRY = auto()
    """The pipe is empty for now."""

    MORE = auto()
    """There is more, also where the pipe is empty already."""

    END = auto()
    """Nobody writes to the pipe any more."""


End = tuple[str, Ended | None]
"""The end of what one job wrote, and its success, or None where a record tells how it ended."""


class Output:
    """Reads one child's pipe; `put` writes a line of the log.

    A `boundary` stands where one job's output ends, and behind it whether the job has succeeded.

    What a job has written stands before its boundary, and that before its record. More can only
    come from processes that outlive the job: it is charged to whoever runs then.
    """

    def __init__(self, descriptor: int, *, boundary: bytes, put: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._boundary = boundary
        self._end = struct.Struct(f"!{len(boundary)}s{END.format.removeprefix('!')}")
        self._put = put
        self._ends: deque[End] = deque()
        """Read, and not taken yet: the oldest first."""

        self._late = 0
        """Jobs whose records came without their boundaries."""

        self._is_absorbed = False
        """`absorb` has filled the buffer, and turns are not through it yet."""

        self.is_silent = True
        """The last turn has met nothing but the ends of jobs, which costs next to nothing."""

        self.is_broken = False
        """A job's boundary is missing: its child writes somewhere else by now."""

        self._buffer = b""
        self._at = 0
        """So much of the buffer is logged."""

        self.has_lines = False
        """The last turn ended before it was through what it had read."""

        self._tail = b""
        self._logged = 0
        self._dropped = 0
        self._stamp = Stamp(time.time)
        self._owned: tuple[Work | None, str] = (None, "}\n")
        """The end of a line, and whose."""

    def read(self, busy: Sequence[Work]) -> Turn:
        """Log some of what is there. `busy` are the child's jobs whose ends have not been taken, in
        their order."""
        self.is_silent = True
        if self._at < len(self._buffer) or self._tail or self._logged:
            return self._take(busy, pieces=_PIECES_OF_A_TURN, until_end=False)
        # Most jobs write nothing: nothing but their ends is to be expected.
        data = self._piece()
        if not data:
            return Turn.DRY if data is None else Turn.END
        if self._takes_ends(data):
            return Turn.DRY
        self._buffer, self._at = data, 0
        return self._take(busy, pieces=_PIECES_OF_A_TURN - 1, until_end=False)

    @property
    def has_success(self) -> bool:
        """Whether the first job has ended well, and all that it wrote is logged."""
        return bool(self._ends and self._ends[0][1])

    def take_success(self) -> tuple[str, Ended] | None:
        """The end of such a job."""
        if not self._ends or (success := self._ends[0][1]) is None:
            return None
        return self._ends.popleft()[0], success

    def seek(self, busy: Sequence[Work]) -> bool | None:
        """Read on to the end of the first of `busy`: a record tells of it, or of one behind it.

        False where none is to be expected, None where that takes another turn.
        """
        if self._ends:
            return True
        turn = self._take(busy, pieces=_PIECES_OF_A_FULL_PIPE, until_end=True)
        if self._ends:
            return True
        # In a pipe that is dry, or was bigger than any, no end is to be expected.
        return None if turn is Turn.MORE and self.has_lines else False

    def take_told(self) -> str:
        """The first job has ended, as a record tells: the end of what it wrote."""
        if self._ends:
            return self._ends.popleft()[0]
        self.is_broken = True
        self._late += 1
        return ""

    def absorb(self) -> None:
        """Take all that is in the pipe now, to be logged in later turns."""
        for _ in range(_PIECES_OF_A_FULL_PIPE):
            data = self._piece() or b""
            self._keep_unread(data)
            if len(data) < _PIECE:
                break
        self._is_absorbed = True

    @property
    def has_success_ahead(self) -> bool:
        """Whether the first job has succeeded, as `absorb` has found, though what it wrote is not
        logged yet."""
        if self._ends or not self._is_absorbed:
            return self.has_success
        found, late = self._buffer.find(self._boundary, self._at), self._late
        while 0 <= found <= len(self._buffer) - self._end.size:
            _, ticket, _ = self._end.unpack_from(self._buffer, found)
            if ticket or not late:
                return bool(ticket)
            late -= 1
            found = self._buffer.find(self._boundary, found + self._end.size)
        return False

    def finish(self, busy: Sequence[Work]) -> str:
        """The child is dead and was read: give the end of all that its last job wrote."""
        work = self._owner(busy)
        rest, self._buffer = self._buffer[self._at :], b""
        self._at = 0
        if self._logged >= MAX_PER_JOB:
            self._dropped += len(rest)
        elif rest:
            self._log(rest, work)
        self._keep(rest)
        return self._end_share(work)

    def _take(self, busy: Sequence[Work], *, pieces: int, until_end: bool) -> Turn:
        lines, stop_at, is_short = MAX_LINES, time.monotonic() + MAX_TURN, False
        while True:
            if self._at < len(self._buffer):
                lines = self._log_lines(busy, lines, stop_at)
                if self.has_lines:
                    return Turn.MORE
            if self._ends if until_end else is_short:
                return Turn.DRY
            if not pieces:
                return Turn.MORE
            pieces -= 1
            data = self._piece()
            if not data:
                return Turn.DRY if data is None else Turn.END
            is_short = len(data) < _PIECE
            self._keep_unread(data)

    def _piece(self) -> bytes | None:
        """What the pipe gives at once: nothing at its end, None while it is empty."""
        try:
            return os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return None

    def _keep_unread(self, data: bytes) -> None:
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def _log_lines(self, busy: Sequence[Work], lines: int, stop_at: float) -> int:
        """Log `lines` lines of the buffer at most; how many are left to this turn."""
        self.has_lines = False
        while self._at < len(self._buffer):
            found = self._buffer.find(self._boundary, self._at)
            end = self._end_of_lines() if found < 0 else found
            lines = self._log_share(end, self._owner(busy), lines, stop_at)
            if self._at < end:
                self.has_lines = True
                break
            if found < 0 or len(self._buffer) - found < self._end.size:
                break
            tail = self._end_share(self._owner(busy))
            _, ticket, seconds = self._end.unpack_from(self._buffer, found)
            self._at = found + self._end.size
            if ticket:
                self._late = 0
                self._ends.append((tail, Ended(ticket, Status.SUCCEEDED, seconds)))
            elif self._late:
                self._late -= 1
            else:
                self._ends.append((tail, None))
        self._is_absorbed = self._is_absorbed and self.has_lines
        return lines

    def _takes_ends(self, data: bytes) -> bool:
        """Take `data` if it is nothing but the ends of jobs that have succeeded."""
        if len(data) % self._end.size:
            return False
        ends: list[End] = []
        for boundary, ticket, seconds in self._end.iter_unpack(data):
            if boundary != self._boundary or not ticket:
                return False
            ends.append(("", Ended(ticket, Status.SUCCEEDED, seconds)))
        self._ends.extend(ends)
        self._late = 0
        return True

    def _end_of_lines(self) -> int:
        """Where the last line ends that is complete, or too long to wait for."""
        buffer, size = self._buffer, len(self._buffer)
        # All but what could be the beginning of a boundary.
        most = max(self._at, size - len(self._boundary) + 1)
        if self._logged >= MAX_PER_JOB:
            return most
        end = max(self._at, buffer.rfind(b"\n", self._at) + 1)
        return most if size - end > _MAX_LINE else end

    def _log_share(self, end: int, work: Work | None, lines: int, stop_at: float) -> int:
        begin = at = self._at
        while at < end:
            if self._logged >= MAX_PER_JOB:
                self._dropped += end - at
                at = end
            elif not lines or (lines % _LINES_A_LOOK == 0 and time.monotonic() >= stop_at):
                break
            else:
                lines -= 1
                newline = self._buffer.find(b"\n", at, end)
                stop = end if newline < 0 else newline
                self._log(self._buffer[at:stop], work)
                at = min(stop + 1, end)
        if at > begin:
            self.is_silent = False
            self._keep(self._buffer[max(begin, at - TAIL) : at])
        self._at = at
        return lines

    def _log(self, line: bytes, work: Work | None) -> None:
        shown = line[:_MAX_LINE]
        self._dropped += len(line) - len(shown)
        if self._owned[0] is not work:
            fields = _fields(work)
            self._owned = (
                work,
                f", {json.dumps(fields, default=str)[1:-1]}}}\n" if fields else "}\n",
            )
        told = (
            f'{{"time": "{self._stamp()}", "level": "info", "event": "output-written", '
            f'"line": {quoted(shown.decode("utf-8", "replace"))}{self._owned[1]}'
        )
        self._logged += len(told)
        self._put(told)

    def _keep(self, text: bytes) -> None:
        self._tail = (self._tail + text)[-TAIL:]

    def _owner(self, busy: Sequence[Work]) -> Work | None:
        index = len(self._ends)
        return busy[index] if index < len(busy) else None

    def _end_share(self, work: Work | None) -> str:
        if self._dropped:
            log.warning("output-dropped", bytes=self._dropped, **_fields(work))
        tail = self._tail.decode("utf-8", "replace") if self._tail else ""
        self._tail = b""
        self._logged = self._dropped = 0
        return tail


def _fields(work: Work | None) -> dict[str, object]:
    return {} if work is None else work.fields()
