"""Copies the output of a child's jobs from its pipe into the worker's log.

Jobs decide how much they write and in how many lines. So each turn of the event loop takes a
bounded amount of output, and each job gets a bounded part of the log.
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
"""Maximum bytes of log for one job's output, including the time and the job's fields; an empty line
takes some 170. Further output is only counted."""

TAIL = 8192
"""Bytes kept of the output's end, for the dead letter of a job that crashed."""

MAX_LINES = 256
MAX_TURN = 0.002
"""Maximum lines that one turn of the event loop logs for a child, and seconds that it takes. With
nine children that write without pause, a kill and a probe wait some 20 ms."""

_PIECE = 65_536
_MAX_LINE = 8192
_PIECES_OF_A_TURN = 4
_LINES_A_LOOK = 32
"""Lines between two checks of the clock."""

_PIECES_OF_A_FULL_PIPE = 17
"""A pipe holds 64 KiB, but a job may have enlarged it to 1 MiB."""

log = Log("longshore.output")


class Turn(Enum):
    """The result of a turn at a child's output."""

    DRY = auto()
    """The pipe is empty for now."""

    MORE = auto()
    """There is more, even if the pipe is already empty."""

    END = auto()
    """The pipe has no writers any more."""


End = tuple[str, Ended | None]
"""The end of one job's output, and its success, or None if a record reports how the job ended."""


class Output:
    """Reads one child's pipe; `put` writes a line of the log.

    A `boundary` marks the end of each job's output, followed by whether the job has succeeded.

    A job's output precedes its boundary, and the boundary precedes the job's record. Later output
    can only come from processes that outlive the job; it is charged to the job that runs then.
    """

    def __init__(self, descriptor: int, *, boundary: bytes, put: Callable[[str], None]) -> None:
        self._descriptor = descriptor
        self._boundary = boundary
        self._end = struct.Struct(f"!{len(boundary)}s{END.format.removeprefix('!')}")
        self._put = put
        self._ends: deque[End] = deque()
        """Ends that were read but not taken yet, the oldest first."""

        self._late = 0
        """The number of jobs whose records came without their boundaries."""

        self._is_absorbed = False
        """Whether `absorb` has filled the buffer, and turns have not processed it all yet."""

        self.is_silent = True
        """Whether the last turn found nothing but ends of jobs, which cost almost nothing."""

        self.is_broken = False
        """Whether a job's boundary is missing, because its child now writes somewhere else."""

        self._buffer = b""
        self._at = 0
        """How much of the buffer is logged."""

        self.has_lines = False
        """Whether the last turn ended before it had processed all that it had read."""

        self._tail = b""
        self._logged = 0
        self._dropped = 0
        self._stamp = Stamp(time.time)
        self._owned: tuple[Work | None, str] = (None, "}\n")
        """The end of a line, and the job that it belongs to."""

    def read(self, busy: Sequence[Work]) -> Turn:
        """Log some of the available output. `busy` has the child's jobs whose ends have not been
        taken, in their order."""
        self.is_silent = True
        if self._at < len(self._buffer) or self._tail or self._logged:
            return self._take(busy, pieces=_PIECES_OF_A_TURN, until_end=False)
        # Most jobs write nothing, so probably there is nothing but their ends.
        data = self._piece()
        if not data:
            return Turn.DRY if data is None else Turn.END
        if self._takes_ends(data):
            return Turn.DRY
        self._buffer, self._at = data, 0
        return self._take(busy, pieces=_PIECES_OF_A_TURN - 1, until_end=False)

    @property
    def has_success(self) -> bool:
        """Whether the first job has succeeded, and all its output is logged."""
        return bool(self._ends and self._ends[0][1])

    def take_success(self) -> tuple[str, Ended] | None:
        """Return the end of the output and the success of the first job; None if there is none."""
        if not self._ends or (success := self._ends[0][1]) is None:
            return None
        return self._ends.popleft()[0], success

    def seek(self, busy: Sequence[Work]) -> bool | None:
        """Read on to the end of the first of `busy`, since a record reports its end or a later one.

        Returns False if no end is to be expected, None if that takes another turn.
        """
        if self._ends:
            return True
        turn = self._take(busy, pieces=_PIECES_OF_A_FULL_PIPE, until_end=True)
        if self._ends:
            return True
        # If the pipe is empty, or was larger than any pipe, no end is to be expected.
        return None if turn is Turn.MORE and self.has_lines else False

    def take_told(self) -> str:
        """Take the end of the first job, which a record reports; return the end of its output."""
        if self._ends:
            return self._ends.popleft()[0]
        self.is_broken = True
        self._late += 1
        return ""

    def absorb(self) -> None:
        """Take everything that is in the pipe now; later turns log it."""
        for _ in range(_PIECES_OF_A_FULL_PIPE):
            data = self._piece() or b""
            self._keep_unread(data)
            if len(data) < _PIECE:
                break
        self._is_absorbed = True

    @property
    def has_success_ahead(self) -> bool:
        """Whether the first job has succeeded, as `absorb` has found, even if its output is not
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
        """Log the rest of a dead child's output; return the end of its last job's output."""
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
        """Return what the pipe holds: nothing at its end, None while it is empty."""
        try:
            return os.read(self._descriptor, _PIECE)
        except BlockingIOError:
            return None

    def _keep_unread(self, data: bytes) -> None:
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def _log_lines(self, busy: Sequence[Work], lines: int, stop_at: float) -> int:
        """Log at most `lines` lines of the buffer; return how many remain for this turn."""
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
        """Take `data` if it consists only of the ends of jobs that have succeeded."""
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
        """Return the end of the last line that is complete, or too long to wait for."""
        buffer, size = self._buffer, len(self._buffer)
        # Everything except what may be the start of a boundary.
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
