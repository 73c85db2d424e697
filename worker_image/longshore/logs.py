"""The worker's log: one JSON object a line on stdout, events with fields.

A thread of its own writes it. Were stdout's reader to stall, the event loop would stall with it and
the broker would take a silent worker for dead; here lines are dropped and counted instead.
"""

import collections
import json
import logging
import os
import select
import threading
import time
from datetime import UTC, datetime
from typing import Any

MAX_WAITING = 20_000
"""Lines that wait for stdout's reader before new ones are dropped."""

MAX_WAITING_BYTES = 32 * 1024 * 1024
"""Characters of them, nearly all of which are bytes: a line of a job's output may have 50,000."""

_MAX_PLAIN = 2000
"""Characters of a value that JSON cannot say."""

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
        self._put_bytes = 0
        self._written_bytes = 0
        """Of the lines taken from those that wait. Each counter is one thread's own."""

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
        try:
            line = _line(record, fields=_fields(record))
        # Nested too deeply, a number that JSON does not know, text that cannot be made.
        except Exception:
            plain = {name: _plain(value) for name, value in _fields(record).items()}
            line = _line(record, fields=plain)
        self.put(line)

    def put(self, line: str) -> None:
        """Write `line`, which ends in a newline; soon, and never waiting for it here."""
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
                    lines.append(
                        json.dumps({"event": "log-lines-dropped", "lines": dropped}) + "\n"
                    )
                data = "".join(lines).encode("utf-8", "backslashreplace")
                try:
                    while data:
                        data = data[self._write_some(data) :]
                except OSError:
                    return  # nobody will ever read it
                self._written_bytes += taken
            if self._ending:
                return

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # whoever shares it may have made it so
            select.select([], [self._descriptor], [], 1.0)
            return 0


def _line(record: logging.LogRecord, *, fields: dict[str, Any]) -> str:
    line = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        **fields,
    }
    return json.dumps(line, default=str, allow_nan=False) + "\n"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {"event": record.getMessage(), **getattr(record, "fields", {})}
    if record.exc_info:
        fields["exception"] = logging.Formatter().formatException(record.exc_info)
    return {name: value for name, value in fields.items() if value is not None}


def _plain(value: Any) -> str | int:
    """Something that JSON can say, whatever `value` is."""
    if isinstance(value, str | int):
        return value
    try:
        return repr(value)[:_MAX_PLAIN]
    except Exception as error:
        return f"<{type(value).__name__}, of which nothing can be said: {type(error).__name__}>"
