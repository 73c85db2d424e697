"""What a child's jobs write, from its pipe into the worker's log."""

import os
from collections import deque
from collections.abc import Sequence

from longshore.worker.parent.logs import Log
from longshore.worker.parent.work import Work

MAX_PER_JOB = 256 * 1024
"""Bytes of one job's output that are logged; the rest is counted."""

TAIL = 8192
"""Bytes kept of the end, for the dead letter of a job that crashed."""

_PIECE = 65_536
_MAX_LINE = 8192
_PIECES_OF_A_FULL_PIPE = 17
"""A pipe holds 64 KiB; a job may have made it 1 MiB."""

log = Log("longshore.output")


class Output:
    """Reads one child's pipe; `boundary` stands where one job's output ends.

    What a job has written stands before its boundary, and that before its result. More can only
    come from processes that outlive the job: it is charged to whoever runs then.
    """

    def __init__(self, descriptor: int, *, boundary: bytes) -> None:
        self._descriptor = descriptor
        self._boundary = boundary
        self._ended = 0
        """Boundaries that have been read before the results of their jobs."""

        self._ends: deque[str] = deque()
        """The end of what each of those jobs wrote."""

        self._rest = b""
        self._tail = b""
        self._logged = 0
        self._dropped = 0

    def read(self, busy: Sequence[Work], *, pieces: int = 4) -> bool:
        """Log what is there, a bounded amount at a time; False at the end of the pipe.

        `busy` are the child's jobs whose results have not been read, in their order.
        """
        for _ in range(pieces):
            try:
                data = os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._take(data, busy)
            if len(data) < _PIECE:
                return True
        return True

    def settle(self, busy: Sequence[Work]) -> str:
        """The first of `busy` has reported its end: log all that it wrote, and give its end."""
        for _ in range(_PIECES_OF_A_FULL_PIPE):
            if self._ended > 0:
                break
            self.read(busy, pieces=1)
        self._ended -= 1
        return self._ends.popleft() if self._ends else ""

    def finish(self, busy: Sequence[Work]) -> str:
        """The child is dead: log what waits, and give the end of all that its last job wrote."""
        self.read(busy, pieces=2)
        return self._end_share(self._rest, self._owner(busy))

    def _take(self, data: bytes, busy: Sequence[Work]) -> None:
        *ended, current = (self._rest + data).split(self._boundary)
        for share in ended:
            tail = self._end_share(share, self._owner(busy)) if share or self._logged else ""
            if self._ended >= 0:  # else it comes too late for its job
                self._ends.append(tail)
            self._ended += 1
        end = current.rfind(b"\n") + 1
        if len(current) - end > _MAX_LINE:
            # All but what could be the beginning of a boundary.
            end = len(current) - len(self._boundary)
        self._rest = current[end:]
        if end:
            self._log(current[:end], self._owner(busy))

    def _owner(self, busy: Sequence[Work]) -> Work | None:
        index = max(0, self._ended)
        return busy[index] if index < len(busy) else None

    def _end_share(self, text: bytes, work: Work | None) -> str:
        if text:
            self._log(text, work)
        if self._dropped:
            log.warning("output-dropped", bytes=self._dropped, **_fields(work))
        tail = self._tail.decode("utf-8", "replace")
        self._rest = self._tail = b""
        self._logged = self._dropped = 0
        return tail

    def _log(self, text: bytes, work: Work | None) -> None:
        self._tail = (self._tail + text)[-TAIL:]
        if self._logged >= MAX_PER_JOB:
            self._dropped += len(text)
            return
        fields = _fields(work)
        for line in text.removesuffix(b"\n").split(b"\n"):
            if self._logged >= MAX_PER_JOB:
                self._dropped += len(line) + 1
                continue
            shown = line[:_MAX_LINE]
            self._logged += len(shown) + 1
            self._dropped += len(line) - len(shown)
            log.info("output", line=shown.decode("utf-8", "replace"), **fields)


def _fields(work: Work | None) -> dict[str, object]:
    return {} if work is None else work.fields()
