from __future__ import annotations

import sys
from pathlib import Path

import pytest

from longshore import handler
from longshore.errors import DuplicateHandler
from longshore.handler import discover, spec_of


def test_a_decorated_function_stays_itself() -> None:
    @handler
    def double(n: int) -> int:
        return 2 * n

    spec = spec_of(double)
    assert double(4) == 8
    assert spec is not None
    assert (spec.name, spec.max_attempts, spec.function) == ("double", None, double)


def test_name_and_attempts_can_be_said() -> None:
    @handler(name="media.double", max_attempts=2)
    def double(n: int) -> int:
        return 2 * n

    spec = spec_of(double)
    assert spec is not None
    assert (spec.name, spec.max_attempts) == ("media.double", 2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"name": "x" * 256}, "255"),
        ({"name": ""}, "1"),
        ({"hard_limit": 0}, "hard_limit is 0"),
        ({"soft_limit": -1.5}, "soft_limit is -1.5"),
        ({"soft_limit": float("nan")}, "soft_limit is nan"),
        ({"max_age": "soon"}, "max_age: 'soon' is not a duration"),
        ({"retry_when": OSError("no")}, "retry_when is OSError"),
        ({"throws": "OSError"}, "throws has 'OSError'"),
        ({"throws": (OSError, KeyboardInterrupt)}, "throws has <class 'KeyboardInterrupt'>"),
    ],
)
def test_nonsense_is_refused_where_it_is_written(
    arguments: dict[str, object], complaint: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=complaint):
        handler(**arguments)


def test_limits_are_seconds_or_durations_and_one_exception_is_enough() -> None:
    @handler(hard_limit="10m", soft_limit=30, max_age="1h30m", throws=KeyError)
    def double(n: int) -> int:
        return 2 * n

    spec = spec_of(double)
    assert spec is not None
    assert (spec.hard_limit, spec.soft_limit, spec.max_age) == (600.0, 30.0, 5400.0)
    assert spec.throws == (KeyError,)


def test_an_async_retry_when_is_refused_as_nobody_would_await_it() -> None:
    async def transient(error: Exception) -> bool:
        return True

    with pytest.raises(TypeError, match="not an async one"):
        handler(retry_when=transient)  # type: ignore[arg-type]  # what is refused


def test_an_undecorated_function_has_no_spec() -> None:
    assert spec_of(len) is None


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_give_what_they_define_and_what_they_name(modules: Path) -> None:
    (modules / "a_jobs.py").write_text(
        "from longshore import handler\n"
        "@handler\ndef one(): ...\n"
        "@handler(name='2')\ndef two(): ...\n"
    )
    (modules / "b_gather.py").write_text("from a_jobs import one\nimport a_jobs\n")
    assert set(discover(["a_jobs"])) == {"one", "2"}
    assert set(discover(["b_gather"])) == {"one"}
    assert set(discover(["a_jobs", "b_gather"])) == {"one", "2"}


def test_two_handlers_of_one_name_are_refused_with_both_places(modules: Path) -> None:
    (modules / "c_jobs.py").write_text("from longshore import handler\n@handler\ndef one(): ...\n")
    (modules / "d_jobs.py").write_text("from longshore import handler\n@handler\ndef one(): ...\n")
    with pytest.raises(DuplicateHandler, match=r"'one'.*c_jobs.py:2.*d_jobs.py:2"):
        discover(["c_jobs", "d_jobs"])


def test_one_name_twice_in_a_module_is_refused_too(modules: Path) -> None:
    (modules / "e_jobs.py").write_text(
        "from longshore import handler\n@handler\ndef one(): ...\n@handler\ndef one(): ...\n"
    )
    with pytest.raises(DuplicateHandler, match=r"e_jobs.py:2.*e_jobs.py:4"):
        discover(["e_jobs"])
