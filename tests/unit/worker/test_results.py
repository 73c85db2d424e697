"""What handlers return: from the child to the parent, and what of it is left out."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from longshore.worker.child import results
from longshore.worker.child.results import Returned
from longshore.worker.wire.frames import Ended, NoRecord, Status, decode_record, encode_record
from longshore.worker.wire.values import MAX_DEPTH, MAX_RESULT, encode_result
from tests.unit.worker.kid import found_by_kids


def nested(levels: int) -> list[Any]:
    value: list[Any] = [0]
    for _ in range(levels - 1):
        value = [value]
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Spiteful(dict[str, int]):
    def items(self) -> Any:
        raise SystemExit


@pytest.mark.parametrize(
    "value",
    [
        *(False, 0, 1.5, "", "räder \ud800 \n", [], {"a": [1, None]}),
        "x" * (MAX_RESULT - 2),
        [1] * ((MAX_RESULT - 2) // 3),
        nested(MAX_DEPTH),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_result_within_bounds_arrives(value: Any) -> None:
    ending = results.success_with(Returned(value))
    assert ending.result_omitted is None
    sent = Ended(1, Status.SUCCEEDED, 0.1, result=ending.result)
    received = decode_record(encode_record(sent))
    assert isinstance(received, Ended)
    assert received == sent
    assert received.result is not None
    assert json.loads(received.result) == value


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (object(), "TypeError: Object of type object is not JSON serializable"),
        (b"bytes", "TypeError: Object of type bytes is not JSON serializable"),
        (math.nan, "ValueError: Out of range float values are not JSON compliant"),
        (
            "x" * (MAX_RESULT - 1),
            f"ValueError: a result may have at most {MAX_RESULT} bytes as JSON",
        ),
        (
            "ä" * (MAX_RESULT // 2),
            f"ValueError: a result may have at most {MAX_RESULT} bytes as JSON",
        ),
        ([[0]] * MAX_RESULT, f"ValueError: a result may have at most {MAX_RESULT} bytes as JSON"),
        (
            {"x" * MAX_RESULT: 1},
            f"ValueError: a result may have at most {MAX_RESULT} bytes as JSON",
        ),
        (Counter(range(MAX_RESULT + 1)), "ValueError: a result may have"),
        (nested(MAX_DEPTH + 1), f"ValueError: a result may have at most {MAX_DEPTH} levels"),
        (circle(), f"ValueError: a result may have at most {MAX_DEPTH} levels"),
        (Spiteful(a=1), "SystemExit"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_any_other_result_is_left_out_with_the_reason_and_the_job_is_done(
    value: Any, why: str
) -> None:
    ending = results.success_with(Returned(value))
    assert ending.status is Status.SUCCEEDED
    assert ending.result is None
    assert (ending.result_omitted or "").startswith(why)


def test_what_is_much_too_large_is_not_encoded_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshore.worker.wire.values.to_strict_json", None)
    values: tuple[Any, ...] = ("x" * 10**6, [[]] * 10**6, {"a": {"b": [1, ["x" * 10**6]]}})
    for value in values:
        with pytest.raises(ValueError, match="a result may have"):
            encode_result(value)


@pytest.mark.parametrize(
    "fields",
    [
        {"result": "x" * (MAX_RESULT + 1)},
        {"result": "nonsense"},
        {"result": "NaN"},
        {"result": "[1,\n2]"},
        {"result": '"räder"'},
        {"result": "[" * MAX_RESULT},
        {"result": json.dumps(nested(MAX_DEPTH + 1))},
        {"result": 1},
        {"result_omitted": 1},
        {"result": "1", "status": "failed"},
        {"result_omitted": "TypeError", "status": "failed"},
    ],
    ids=lambda fields: json.dumps(fields)[:40],
)
def test_no_child_of_ours_sends_such_a_result(fields: dict[str, Any]) -> None:
    honest = Ended(1, Status.SUCCEEDED, 0.1)._asdict()
    with pytest.raises(NoRecord):
        decode_record(json.dumps({"kind": "ended", **honest, **fields}).encode())


_CLOSE_THE_LAST_SOCKET = (
    "fds = [f'/proc/self/fd/{fd}' for fd in range(3, 99)];"
    "last = [fd for fd in fds if os.path.exists(fd) and os.readlink(fd)[:6] == 'socket'][-1];"
    "os.close(int(os.path.basename(last)))"
)

# What one job after another does, and what is told of its result.
CASES: dict[str, list[tuple[str, list[str | None]]]] = {
    "a result": [
        ("return 42", ["42", None]),
        ("return {'a': [1, 'ä']}", ['{"a": [1, "\\u00e4"]}', None]),
        ("return None", [None, None]),
    ],
    "an async handler's result": [
        ("await await asyncio.sleep(0); return 'done'", ['"done"', None]),
        ("await await asyncio.sleep(0)", [None, None]),
    ],
    "one that JSON cannot say": [
        ("return {1, 2}", [None, "TypeError: Object of type set is not JSON serializable"]),
        ("return 1", ["1", None]),
    ],
    "the socket that a result needs is closed": [
        (f"{_CLOSE_THE_LAST_SOCKET}; return 42", [None, None]),
    ],
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    cases = {name: {"results_of": [job for job, _ in jobs]} for name, jobs in CASES.items()}
    answer: Path = tmp_path_factory.mktemp("kid") / "answer"
    return found_by_kids(cases, answer=answer)


@pytest.mark.parametrize("name", CASES)
def test_a_child_tells_what_its_handler_returned(told: dict[str, Any], name: str) -> None:
    assert told[name] == [["succeeded", *expected] for _, expected in CASES[name]]
