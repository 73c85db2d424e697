"""What `longshore explain` shows: why there are so many workers, and the last hour as a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
import urllib3
from kubernetes import client
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from longshore_operator.cli.status import REQUEST_TIMEOUT
from longshore_operator.core.workers.history import LENGTH, STEP, Hour, Moment

COLUMNS = 60
"""Width of the picture, one column for each minute."""

_BLOCKS = " ▁▂▃▄▅▆▇█"
_PORT = "http"


def read_history(api: client.CoreV1Api, *, operator: str, namespace: str, name: str) -> Hour | str:
    """Return the last hour as the operator remembers it, or the reason why it cannot be read.

    `operator` is NAMESPACE/SERVICE. Raises UsageError if it is not.
    """
    where, _, service = operator.partition("/")
    if not service:
        raise click.UsageError(f"--operator is {operator!r}; write it as NAMESPACE/SERVICE")
    try:
        # Not decoded by the client, which would return the text of a Python dict.
        answer: Any = api.connect_get_namespaced_service_proxy_with_path(
            f"{service}:{_PORT}",
            where,
            f"v1/history/{namespace}/{name}",
            _request_timeout=REQUEST_TIMEOUT,
            _preload_content=False,
        )
        return Hour.model_validate_json(answer.data)
    except client.ApiException as error:
        return f"cannot read the history from service {operator}: {error.status} {error.reason}"
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return f"cannot read the history from service {operator}: {error}"


def explanation(
    task_queue: Mapping[str, Any], history: Hour | str, *, now: float
) -> RenderableType:
    """Render the numbers, the reasons and the picture of the last hour."""
    status = task_queue.get("status", {})
    scaling = status.get("scaling") or {}
    metadata = task_queue["metadata"]
    head = Text.assemble(
        (f"{metadata['namespace']}.{metadata['name']}", "bold"),
        f": {_number(scaling.get('current'))} workers, {_number(scaling.get('wanted'))} wanted",
        f" since {scaling['since']}" if scaling.get("since") else "",
    )
    lines = [Text(f"  {line}") for line in scaling.get("why", ())] or [
        Text("  nothing has been decided yet", style="yellow")
    ]
    holds = [
        Text(f"  {each['reason']}: {each['message']}", style="yellow")
        for each in status.get("conditions", ())
        if each["type"] == "ScalingActive" and each["status"] != "True"
    ]
    below = Text(history, style="yellow") if isinstance(history, str) else picture(history, now=now)
    return Group(head, *lines, *holds, Text(""), below)


def picture(hour: Hour, *, now: float) -> RenderableType:
    """Render backlog, workers and wait of the last hour, each on its own scale."""
    minutes = _by_minute(hour.moments, now=now)
    rows = Table(box=None, show_header=False, pad_edge=False)
    rows.add_column(justify="right")
    rows.add_column(no_wrap=True)
    rows.add_column(no_wrap=True)
    for title, value, show in _ROWS:
        values = [_most(value(moment) for moment in minute) for minute in minutes]
        known = [each for each in values if each is not None]
        most = max(known, default=None)
        rows.add_row(
            title, Text(_bars(values)), "unknown" if most is None else f"at most {show(most)}"
        )
    rows.add_row("", f"{'an hour ago':<{COLUMNS - 3}}now", "")
    return rows


_ROWS: Sequence[tuple[str, Callable[[Moment], float | None], Callable[[float], str]]] = (
    ("waiting", lambda moment: moment.backlog, lambda most: f"{most:.0f} jobs"),
    ("workers", lambda moment: moment.workers, lambda most: f"{most:.0f}"),
    ("wait", lambda moment: moment.wait, lambda most: f"{most:.1f} s"),
)


def _by_minute(moments: Iterable[Moment], *, now: float) -> list[list[Moment]]:
    minutes: list[list[Moment]] = [[] for _ in range(COLUMNS)]
    width = LENGTH * STEP // COLUMNS
    for moment in moments:
        column = COLUMNS - 1 - int(max(0.0, now - moment.at - STEP / 2)) // width
        if 0 <= column < COLUMNS:
            minutes[column].append(moment)
    return minutes


def _bars(values: Sequence[float | None]) -> str:
    most = max((each for each in values if each is not None), default=0.0)
    return "".join(_bar(each, most=most) for each in values)


def _bar(value: float | None, *, most: float) -> str:
    if value is None:
        return "·"
    if value <= 0 or most <= 0:
        return _BLOCKS[0]
    # A value above 0 is always visible.
    return _BLOCKS[max(1, round(value / most * (len(_BLOCKS) - 1)))]


def _most(values: Iterable[float | None]) -> float | None:
    return max((each for each in values if each is not None), default=None)


def _number(value: int | None) -> str:
    # Unknown is not zero.
    return "?" if value is None else str(value)
