"""The operator's log, in the same form as the workers' log, or as plain text for a terminal."""

import logging
from typing import Literal

from longshore import logs


def configure(*, level: str, form: Literal["json", "text"]) -> None:
    """Send all logs to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logs.JsonLines() if form == "json" else _Text())
    logs.install(handler, level=level.upper())
    # They log every connection, request, event and probe, thousands a minute.
    for name in ("kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = logs.fields_of(record)
        event, traceback = fields.pop("event"), fields.pop("traceback", None)
        told = " ".join(f"{name}={value!r}" for name, value in fields.items())
        line = f"{logs.time_of(record)} {record.levelname:7} {event} {told}".rstrip()
        return f"{line}\n{traceback}" if traceback else line
