from __future__ import annotations

import copy
import functools
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from longshore import Discard, Retry, Snooze, handler
from longshore.errors import DuplicateHandler, HandlerError
from longshore.handler import discover_handlers, spec_of
from longshore.testing import make_job


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
        ({"throws": "OSError"}, "throws contains 'OSError'"),
        ({"throws": (OSError, KeyboardInterrupt)}, "throws contains <class 'KeyboardInterrupt'>"),
    ],
)
def test_nonsense_is_refused_where_it_is_written(arguments: dict[str, Any], complaint: str) -> None:
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

    with pytest.raises(TypeError, match="a function that is not async"):
        handler(retry_when=transient)  # type: ignore[arg-type]  # what is refused


def test_an_undecorated_function_has_no_spec() -> None:
    assert spec_of(len) is None


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
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
    assert set(discover_handlers(["a_jobs"])) == {"one", "2"}
    assert set(discover_handlers(["b_gather"])) == {"one"}
    assert set(discover_handlers(["a_jobs", "b_gather"])) == {"one", "2"}


def test_two_handlers_of_one_name_are_refused_with_both_places(modules: Path) -> None:
    (modules / "c_jobs.py").write_text("from longshore import handler\n@handler\ndef one(): ...\n")
    (modules / "d_jobs.py").write_text("from longshore import handler\n@handler\ndef one(): ...\n")
    with pytest.raises(DuplicateHandler, match=r"'one'.*c_jobs.py:2.*d_jobs.py:2"):
        discover_handlers(["c_jobs", "d_jobs"])


def test_one_name_twice_in_a_module_is_refused_too(modules: Path) -> None:
    (modules / "e_jobs.py").write_text(
        "from longshore import handler\n@handler\ndef one(): ...\n@handler\ndef one(): ...\n"
    )
    with pytest.raises(DuplicateHandler, match=r"e_jobs.py:2.*e_jobs.py:4"):
        discover_handlers(["e_jobs"])


def test_a_decorator_above_handler_is_refused_since_it_would_never_run(modules: Path) -> None:
    (modules / "f_jobs.py").write_text(
        "import functools\n"
        "from longshore import handler\n"
        "def in_transaction(function):\n"
        "    @functools.wraps(function)\n"
        "    def call(*a, **k): return function(*a, **k)\n"
        "    return call\n"
        "@in_transaction\n@handler\ndef work(): ...\n"
    )
    (modules / "g_jobs.py").write_text(
        "from longshore import handler\n"
        "def hide(function):\n    return lambda: function()\n"
        "@hide\n@handler(name='x')\ndef work(): ...\n"
    )
    for module in ("f_jobs", "g_jobs"):
        with pytest.raises(
            HandlerError, match=rf"{module}.py:\d+: .*{module}.work.*above @handler"
        ):
            discover_handlers([module])


def test_a_decorator_below_handler_and_a_wrapper_beside_it_are_fine(modules: Path) -> None:
    (modules / "h_jobs.py").write_text(
        "import functools\n"
        "from longshore import handler\n"
        "def logged(function):\n"
        "    @functools.wraps(function)\n"
        "    def call(*a, **k): return function(*a, **k)\n"
        "    return call\n"
        "@handler\n@logged\ndef one(): ...\n"
        "@handler\ndef two(): ...\n"
        "called_directly = logged(two)\n"
        "@handler(name='three')\ndef _(): ...\n"
        "@handler(name='four')\ndef _(): ...\n"
        "def made(name):\n"
        "    @handler(name=name)\n    def work(): ...\n    return work\n"
        "five = logged(made('five'))\n"
        "class Jobs:\n    @staticmethod\n    @handler\n    def six(): ...\n"
        "    @handler\n    @staticmethod\n    def seven(): ...\n"
        "@handler(name='eight')\n@functools.lru_cache\ndef eight(): ...\n"
        "@handler\ndef nine(): ...\ndel nine\n"
    )
    names = {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    assert set(discover_handlers(["h_jobs"])) == names


@pytest.mark.parametrize("kind", ["", "@classmethod\n    "])
def test_a_method_is_refused_by_its_class(modules: Path, kind: str) -> None:
    (modules / "i_jobs.py").write_text(
        f"from longshore import handler\nclass Jobs:\n    {kind}@handler\n"
        "    def work(this, a: int): ...\n"
    )
    with pytest.raises(HandlerError, match=r"i_jobs.py:\d+: handler 'work' is a method of Jobs"):
        discover_handlers(["i_jobs"])


def test_what_has_no_name_of_its_own_is_refused_where_it_is_decorated() -> None:
    class Task:
        def __call__(self) -> None: ...

        def run(self) -> None: ...

    for nameless in (functools.partial(print, 1), Task()):
        with pytest.raises(TypeError, match="which has no name;"):
            handler(name="x")(nameless)
    with pytest.raises(TypeError, match=r"not the class '.*Task'"):
        handler(Task)
    with pytest.raises(TypeError, match=r"not the method '.*Task.run'"):
        handler(Task().run)
    with pytest.raises(TypeError, match="a Python function, not <built-in function print>"):
        handler(print)


def test_a_spec_is_equal_to_itself_only_and_needs_no_hash_of_its_options() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]  # the test

        def __call__(self, error: Exception) -> bool:
            return True

    @handler(retry_when=Unhashable())
    def work() -> None: ...

    assert {spec_of(work)} == {spec_of(work)}


def test_every_length_of_time_may_be_a_timedelta() -> None:
    @handler(hard_limit=timedelta(minutes=1), soft_limit=timedelta(seconds=5), max_age="1h")
    def work() -> None: ...

    spec = spec_of(work)
    assert spec is not None
    assert (spec.hard_limit, spec.soft_limit, spec.max_age) == (60.0, 5.0, 3600.0)
    assert Retry(after=timedelta(minutes=2)).after == 120.0
    assert Snooze(timedelta(milliseconds=1500)).delay == 1.5
    with pytest.raises(TypeError, match="b's' is not a duration"):
        Snooze(b"s")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ValueError, match="in the past"):
        Retry(after=timedelta(seconds=-1))


def test_a_job_and_what_ends_one_can_be_pickled_for_a_pool_of_processes() -> None:
    told: list[object] = []
    job = replace(make_job(headers={"tenant": ["a"]}), _report=told.append, _is_lost=lambda: True)

    there = pickle.loads(pickle.dumps(job))

    assert there == job
    there.progress("nobody hears of it")
    assert told == []
    assert not there.delivery_lost
    for same in (copy.copy(job), copy.deepcopy(job)):
        same.progress("heard")
    assert told == ["heard", "heard"]
    for error in (Snooze("10m", "later"), Retry("again", after=5), Discard("no")):
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), vars(again)) == (str(error), vars(error))
