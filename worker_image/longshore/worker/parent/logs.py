"""Writes the worker's log to stdout, in a thread of its own.

If the event loop wrote it, a stalled reader of stdout would stall the loop, and the broker would
take the silent worker for dead. Here lines are dropped and counted instead.
"""

import collections
import json
import logging
import os
import select
import threading
import time

from longshore import logs

MAX_WAITING = 20_000
"""Lines that may wait for stdout's reader before new ones are dropped."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Characters in waiting lines, nearly all of them bytes; a line of output may have 50,000."""

GATHER = 0.02
"""Seconds that the first line waits for others, so that a busy worker writes many at once."""


class LogWriter(logging.Handler):
    """Formats records where they arise, and writes them in its own thread."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(logs.JsonLines())
        self._stamp = logs.Stamp(time.time)
        self._descriptor = descriptor
        self._lines: collections.deque[str] = collections.deque()
        self._wake = threading.Event()
        self._dropped = 0
        self._put_bytes = 0
        self._written_bytes = 0
        """Bytes of the lines taken from the queue. Each counter is written by one thread only."""

        self._ending = False
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def start(self) -> None:
        """Take over the standard library's logging."""
        logs.install(self, level=logging.INFO)
        self._thread.start()

    def stop(self) -> None:
        """Write the lines that wait, for at most a second."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout=1)

    def emit(self, record: logging.LogRecord) -> None:
        self.put(self.format(record) + "\n")

    def put(self, line: str) -> None:
        """Write `line`, which ends in a newline, soon and without blocking the caller."""
        waiting = self._put_bytes - self._written_bytes
        if len(self._lines) >= MAX_WAITING or waiting >= MAX_WAITING_BYTES:
            self._dropped += 1
            return
        self._put_bytes += len(line)
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def _write(self) -> None:
        while True:
            self._wake.wait()
            if not self._ending:
                time.sleep(GATHER)
            self._wake.clear()
            while self._lines:
                lines = [self._lines.popleft() for _ in range(min(len(self._lines), 256))]
                taken = sum(map(len, lines))
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    lines.append(self._lines_dropped(dropped))
                data = "".join(lines).encode("utf-8", "backslashreplace")
                try:
                    while data:
                        data = data[self._write_some(data) :]
                except OSError:
                    return  # nobody will ever read the log
                self._written_bytes += taken
            if self._ending:
                return

    def _lines_dropped(self, count: int) -> str:
        # Not through `put`, which would drop this one too.
        line = {
            "time": self._stamp(),
            "level": "error",
            "event": "log-lines-dropped",
            "lines": count,
        }
        return json.dumps(line) + "\n"

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # another process may have made the shared descriptor nonblocking
            select.select([], [self._descriptor], [], 1.0)
            return 0
