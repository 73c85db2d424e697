"""The log of both images: each line is a JSON object, an event with fields. `docs/logs.md` lists
the events.

It is based on the standard library's logging, so that lines of other libraries have the same form:
they are the event `message-logged`, with the library's `logger` and its `message`.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

MESSAGE = "message-logged"
"""The event of a line that another library has logged."""

_MAX_PLAIN = 2000
"""Characters that are kept of a value that JSON cannot represent."""


class Log:
    """Logs events under one logger of the standard library, whose level can be set."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log something that is expected to happen."""
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, *, exc_info: Any = None, **fields: Any) -> None:
        """Log something that went wrong and is being dealt with.

        `exc_info` is an exception whose traceback is logged too, or True for the one that is being
        handled.
        """
        self._logger.warning(event, exc_info=exc_info, extra={"fields": fields})

    def error(self, event: str, *, exc_info: Any = None, **fields: Any) -> None:
        """Log something that went wrong and that somebody should look at."""
        self._logger.error(event, exc_info=exc_info, extra={"fields": fields})

    def exception(self, event: str, **fields: Any) -> None:
        """Log an error with the traceback of the exception that is being handled."""
        self._logger.exception(event, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """Formats any record as one JSON object, without the newline."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        try:
            return _line(record, fields)
        # Nested too deeply, a number that JSON does not have, or a value whose `__str__` fails.
        except Exception:
            return _line(record, {name: _plain(value) for name, value in fields.items()})


class Stamp:
    """Returns the time as the log writes it, for lines that are formatted by hand; `now` returns
    seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._second = self._millisecond = 0
        self._prefix = ""
        """The text of that second: formatting it takes as long as all the rest of a line."""

        self._text = ""
        """The text of that millisecond, in which dozens of short jobs may end."""

    def __call__(self) -> str:
        millisecond = int(self._now() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, part = divmod(millisecond, 1000)
            if second != self._second:
                self._second = second
                self._prefix = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
            self._text = f"{self._prefix}.{part:03d}+00:00"
        return self._text


def install(handler: logging.Handler, *, level: int | str) -> None:
    """Send all logs of the process to `handler`."""
    # pika logs each failure many times; the connection modules log it once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.basicConfig(level=level, handlers=[handler], force=True)


def time_of(record: logging.LogRecord) -> str:
    """Return when `record` was created: UTC with its zone, to the millisecond."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the event of `record` and its fields, without those that are None."""
    try:
        said = record.getMessage()
    except Exception as error:  # from a library whose arguments do not match its format string
        said = f"{record.msg} ({error!r})"
    own = getattr(record, "fields", None)
    fields = (
        {"event": MESSAGE, "logger": record.name, "message": said}
        if own is None
        else {"event": said, **own}
    )
    if record.exc_info:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)
    return {name: value for name, value in fields.items() if value is not None}


def _line(record: logging.LogRecord, fields: dict[str, Any]) -> str:
    head = {"time": time_of(record), "level": record.levelname.lower()}
    return json.dumps({**head, **fields}, default=str, allow_nan=False)


def _plain(value: Any) -> str | int:
    """Return something that JSON can represent, whatever `value` is."""
    if isinstance(value, str | int):
        return value
    try:
        return repr(value)[:_MAX_PLAIN]
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
