"""Log lines as events with fields, one JSON object each, or plain text for a terminal."""

import json
import logging
from typing import Any, Literal

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISE = frozenset({"settings", "k8s_skip", "k8s_ref"})
"""Extras by which kopf talks to itself."""


def configure(*, level: str, form: Literal["json", "text"]) -> None:
    """Send all logs to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They tell every connection, request, event and probe, thousands a minute.
    for name in ("kopf.objects", "kopf.activities", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Every fault of a connection is told where it is handled.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _OWN and name not in _NOISE
    }


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{record.msecs:03.0f}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value!r}" for name, value in _fields(record).items())
        text = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:7} {record.getMessage()}"
        lines = [f"{text} {fields}".rstrip()]
        if record.exc_info:
            lines.append(self.formatException(record.exc_info))
        return "\n".join(lines)
