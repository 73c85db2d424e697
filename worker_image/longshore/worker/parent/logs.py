"""The worker's log: one JSON object a line on stdout, events with fields.

A thread of its own writes it. Were stdout's reader to stall, the event loop would stall with it and
the broker would take a silent worker for dead; here lines are dropped and counted instead.
"""

import collections
import json
import logging
import os
import threading
import time
from datetime import UTC, datetime
from typing import Any

MAX_WAITING = 20_000
"""Lines that wait for stdout's reader before new ones are dropped."""

GATHER = 0.02
"""Seconds that the first line waits for others, so that busy workers write many at a time."""


class Log:
    """Events under one logger of the standard library."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Something that is meant to happen."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        """Something went wrong and is being dealt with."""
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: Any) -> None:
        """Something went wrong that somebody should look at."""
        self._logger.error(event, extra={"fields": fields})


class LogWriter(logging.Handler):
    """Formats records where they arise and writes them in its own thread."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: collections.deque[str] = collections.deque()
        self._wake = threading.Event()
        self._dropped = 0
        self._ending = False
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def start(self) -> None:
        """Take over the standard library's logging."""
        # pika tells each failure many times over; the connection modules tell it once.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        logging.basicConfig(level=logging.INFO, handlers=[self], force=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, for at most a second."""
        self._ending = True
        self._wake.set()
        self._thread.join(timeout=1)

    def emit(self, record: logging.LogRecord) -> None:
        self.put(_line(record))

    def put(self, line: str) -> None:
        """Write `line`, which ends in a newline; soon, and never waiting for it here."""
        if len(self._lines) >= MAX_WAITING:
            self._dropped += 1
            return
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
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    lines.append(
                        json.dumps({"event": "log-lines-dropped", "lines": dropped}) + "\n"
                    )
                data = "".join(lines).encode()
                try:
                    while data:
                        data = data[os.write(self._descriptor, data) :]
                except OSError:
                    return  # nobody will ever read it
            if self._ending:
                return


def _line(record: logging.LogRecord) -> str:
    fields: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
    }
    fields.update(getattr(record, "fields", {}))
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps({k: v for k, v in fields.items() if v is not None}, default=str) + "\n"
