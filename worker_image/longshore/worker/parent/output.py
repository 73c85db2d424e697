"""What a child's jobs write, from its pipe into the worker's log."""

import os

from longshore.worker.parent.logs import Log
from longshore.worker.parent.work import Work

MAX_PER_JOB = 256 * 1024
"""Bytes of one job's output that are logged; the rest is counted."""

TAIL = 8192
"""Bytes kept of the end, for the dead letter of a job that crashed."""

_PIECE = 65_536
_MAX_LINE = 8192

log = Log("longshore.output")


class Output:
    """Reads one child's pipe. What arrives belongs to the job that runs then."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._tail = b""
        self._logged = 0
        self._dropped = 0

    def read(self, work: Work | None, *, pieces: int = 4) -> bool:
        """Log what is there, a bounded amount at a time; False at the end of the pipe."""
        for _ in range(pieces):
            try:
                data = os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._take(data, work)
        return True

    def finish(self, work: Work | None) -> str:
        """End a job's share: log what waits, and give the end of all it wrote."""
        # A pipe holds 64 KiB, so what the job wrote before its result is within these pieces;
        # more can only come from processes that outlive the job.
        self.read(work, pieces=2)
        if self._rest:
            self._log(self._rest, work)
        if self._dropped:
            log.warning("output-dropped", bytes=self._dropped, **_fields(work))
        tail = self._tail.decode("utf-8", "replace")
        self._rest = self._tail = b""
        self._logged = self._dropped = 0
        return tail

    def _take(self, data: bytes, work: Work | None) -> None:
        self._tail = (self._tail + data)[-TAIL:]
        if self._logged >= MAX_PER_JOB:
            self._dropped += len(data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._log(line, work)

    def _log(self, line: bytes, work: Work | None) -> None:
        if self._logged >= MAX_PER_JOB:
            self._dropped += len(line) + 1
            return
        self._logged += len(line) + 1
        log.info("output", line=line[:_MAX_LINE].decode("utf-8", "replace"), **_fields(work))


def _fields(work: Work | None) -> dict[str, object]:
    return {} if work is None else work.fields()
