from __future__ import annotations

import json
from typing import Any

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.jobs.outcome import SUCCEEDED
from longshore.worker.parent.jobs.work import Work
from longshore.worker.parent.telemetry.joblog import JobLog
from longshore.worker.wire.frames import Ended, Status


def work(**message: Any) -> Work:
    delivery: Any = None
    return Work(
        ticket=1,
        delivery=delivery,
        message=Message(**{"handler": "h", "body": b"{}", "enqueued_at": 0, **message}),
        max_attempts=3,
        hard_limit=1.0,
    )


def succeeded(seconds: float, **result: Any) -> Ended:
    return Ended(ticket=1, status=Status.SUCCEEDED, seconds=seconds, **result)


@pytest.mark.parametrize("name", ["j-1", 'quo"te\\', "new\nline", "räder", "\ud800"])
def test_a_success_is_one_line_of_json_whatever_its_id(name: str) -> None:
    lines: list[str] = []
    told = JobLog(lines.append, task_queue="ns.q", successes=True, now=lambda: 1_700_000_000.5)
    told.settled(SUCCEEDED, work(id=name, attempt=2), succeeded(0.00123), {})
    (line,) = lines
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.500+00:00",
        "level": "info",
        "event": "job-settled",
        "outcome": "succeeded",
        "task_queue": "ns.q",
        "job": name,
        "handler": "h",
        "attempt": 2,
        "seconds": 0.0012,
    }


def test_successes_can_be_kept_quiet() -> None:
    lines: list[str] = []
    told = JobLog(lines.append, task_queue="ns.q", successes=False, now=lambda: 0.0)
    told.settled(SUCCEEDED, work(id="j"), succeeded(0.1), {})
    assert not lines


@pytest.mark.parametrize(
    ("told", "logged"),
    [
        ({"result": '{"rows": [1, 2.5, null]}'}, {"result": {"rows": [1, 2.5, None]}}),
        ({"result": "0"}, {"result": 0}),
        ({"result_omitted": 'TypeError: "it"'}, {"result_omitted": 'TypeError: "it"'}),
    ],
    ids=["an-object", "zero", "omitted"],
)
def test_a_success_is_logged_with_its_result(told: dict[str, str], logged: dict[str, Any]) -> None:
    lines: list[str] = []
    log = JobLog(lines.append, task_queue="ns.q", successes=True, now=lambda: 0.0)
    log.settled(SUCCEEDED, work(id="j"), succeeded(0.1, **told), {})
    (line,) = map(json.loads, lines)
    assert {key: line[key] for key in line if key.startswith("result")} == logged
