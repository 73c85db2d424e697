from __future__ import annotations

import functools
import json
import typing
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from longshore import Job, handler
from longshore.binding import BoundHandler, InvalidArguments, NotAnObject
from longshore.errors import HandlerError
from longshore.handler import HandlerSpec, spec_of


class Point(BaseModel):
    x: int
    y: int = 0


class Schemaless:
    """pydantic asks a type for its schema; this one raises."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        raise ZeroDivisionError("no schema")


def bind(function: Any) -> BoundHandler:
    spec = spec_of(function)
    assert isinstance(spec, HandlerSpec)
    return BoundHandler(spec)


def test_members_become_checked_arguments() -> None:
    @handler
    def render(
        job: Job, at: datetime, point: Point, size: Annotated[int, Field(gt=0)] = 5
    ) -> None: ...

    body = b'{"at": "2026-01-02T03:04:05Z", "point": {"x": 1}}'
    assert bind(render).arguments(body) == {
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "point": Point(x=1),
    }


PLAIN = [
    *(Any, str, bool, int, float, list, dict),
    *(list[int], dict[str, float], list[str | None], dict[str, list[Any]]),
    *(int | None, str | float, float | int, bool | int, list[int] | dict[str, str]),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("1.5"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(annotation=st.sampled_from(PLAIN), value=VALUES)
def test_types_of_json_are_read_as_pydantic_reads_them(annotation: Any, value: Any) -> None:
    @handler
    def work(a: Any, b: Any = 0) -> None: ...

    work.__annotations__ = {"a": annotation, "b": int}
    body = json.dumps({"a": value}).encode()
    try:
        expected = TypeAdapter(annotation).validate_json(json.dumps(value))
    except ValidationError:
        with pytest.raises(InvalidArguments):
            bind(work).arguments(body)
    else:
        assert repr(bind(work).arguments(body)) == repr({"a": expected})


def test_the_job_is_passed_only_to_a_first_parameter_that_asks_for_it() -> None:
    @handler
    def with_job(job: Job, a: int) -> tuple[Job, int]:
        return job, a

    @handler
    def without(a: int) -> int:
        return a

    job: Any = object()
    assert bind(with_job).call(job, {"a": 1}) == (job, 1)
    assert bind(without).call(job, {"a": 1}) == 1


def test_the_job_is_given_wherever_a_parameter_asks_for_it() -> None:
    @handler
    def keyword(*, job: Job, a: int) -> Any:
        return job, a

    @handler
    def second(a: int, job: Job) -> Any:
        return job, a

    @handler
    def optional(job: Job | None, a: int) -> Any:
        return job, a

    @handler
    def defaulted(a: int, this: typing.Optional[Annotated[Job, "the job"]] = None) -> Any:  # noqa: UP045 - old ways are the test
        return this, a

    @handler
    def positional(job: Job, /, a: int) -> Any:
        return job, a

    job: Any = object()
    for function in (keyword, second, optional, defaulted, positional):
        binding = bind(function)
        assert binding.takes_job
        assert binding.call(job, binding.arguments(b'{"a": 1}')) == (job, 1)
        for name in ("job", "this"):
            with pytest.raises(InvalidArguments):
                binding.arguments(json.dumps({"a": 1, name: "mine"}).encode())


def test_an_argument_named_as_the_job_is_refused_where_all_others_are_taken() -> None:
    @handler
    def loose(job: Job, **rest: Any) -> Any:
        return rest

    @handler
    def free(job: Job, /, **rest: Any) -> Any:
        return rest

    with pytest.raises(InvalidArguments, match="job: the worker itself passes the job"):
        bind(loose).arguments(b'{"job": 1, "b": 2}')
    job: Any = object()
    assert bind(free).call(job, bind(free).arguments(b'{"job": 1}')) == {"job": 1}


def test_a_job_that_could_not_be_given_is_refused_by_the_parameters_name() -> None:
    @handler
    def twice(job: Job, other: Job) -> None: ...

    @handler
    def several(jobs: list[Job]) -> None: ...

    @handler
    def either(job: Job | int) -> None: ...

    @handler
    def all_of_them(*jobs: Job) -> None: ...

    for function, parameter in (
        (twice, "job"),
        (several, "jobs"),
        (either, "job"),
        (all_of_them, "jobs"),
    ):
        with pytest.raises(
            HandlerError, match=rf"parameter '{parameter}' .*cannot receive the job"
        ):
            bind(function)


def test_a_function_that_takes_self_is_refused() -> None:
    @handler
    def method(self: Any, a: int) -> None: ...

    with pytest.raises(HandlerError, match=r"'method' takes 'self' as methods do"):
        bind(method)


def test_what_a_handler_returns_need_not_be_known() -> None:
    @handler
    def priced(a: int) -> decimal.Decimal: ...  # type: ignore[name-defined]  # noqa: F821 - the test

    assert bind(priced).arguments(b'{"a": 1}') == {"a": 1}


def test_an_annotation_that_raises_is_refused_by_its_parameter() -> None:
    @handler
    def misspelt(a: json.Jason) -> None: ...  # type: ignore[name-defined]  # the test

    @handler
    def unparsable(a: "1 +") -> None: ...  # type: ignore[valid-type] # noqa: F722 - the test

    @handler
    def schemaless(a: Schemaless) -> None: ...

    for function in (misspelt, unparsable):
        with pytest.raises(HandlerError, match="annotation of parameter 'a' of"):
            bind(function)
    with pytest.raises(HandlerError, match=r"'schemaless' cannot be read from JSON: .*no schema"):
        bind(schemaless)


def test_parameters_may_have_names_that_models_may_not() -> None:
    @handler
    def odd(json: int, copy: str = "", model_config: int = 0, _x: int = 0) -> None: ...

    assert bind(odd).arguments(b'{"json": 1, "_x": 2}') == {"json": 1, "_x": 2}


def test_open_keyword_arguments_take_the_rest() -> None:
    @handler
    def loose(a: int, **rest: Any) -> None: ...

    assert bind(loose).arguments(b'{"a": 1, "b": [2]}') == {"a": 1, "b": [2]}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{}", "a: Field required"),
        (b'{"a": "x"}', "a: Input should be a valid integer"),
        (b'{"a": 1, "b": 2}', "b: Extra inputs are not permitted"),
    ],
)
def test_arguments_that_do_not_fit_are_named_without_their_values(
    body: bytes, complaint: str
) -> None:
    @handler
    def strict(a: int) -> None: ...

    with pytest.raises(InvalidArguments, match=complaint):
        bind(strict).arguments(body)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b'{"a":', b"\xff", b"[" * 100_000),
        *(b'{"a": "\xff"}', b'{"\xff": "a"}', b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    ],
)
def test_what_is_no_json_object_is_told_apart(body: bytes) -> None:
    @handler
    def plain(a: Any) -> None: ...

    @handler
    def strict(a: Annotated[Any, Field()]) -> None: ...

    for function in (plain, strict):
        with pytest.raises(NotAnObject):
            bind(function).arguments(body)


def test_annotations_of_old_and_names_of_any_kind_are_served() -> None:
    @handler
    def work(a: typing.Dict, b: typing.List = [], __c: int = 0) -> None: ...  # type: ignore[type-arg]  # noqa: B006, UP006 - old ways are the test

    body = b'{"a": {"x": [1]}, "__c": "2"}'
    assert bind(work).arguments(body) == {"a": {"x": [1]}, "__c": 2}


def test_a_validator_that_raises_of_its_own_is_the_handlers_failure() -> None:
    @handler
    def inner(a: int) -> None:
        Point(x="no")  # type: ignore[arg-type]  # the test

    binding = bind(inner)
    job: Any = None
    with pytest.raises(ValueError, match="valid integer") as raised:
        binding.call(job, binding.arguments(b'{"a": 1}'))
    assert not isinstance(raised.value, InvalidArguments)


def test_handlers_that_no_json_object_can_call_are_refused() -> None:
    @handler
    def positional(a: int, /) -> None: ...

    @handler
    def starred(*many: int) -> None: ...

    @handler
    def foreign(a: socket.socket) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - a name that is not there is the test

    for function in (positional, starred, foreign):
        with pytest.raises(HandlerError, match=r"test_binding.py:\d+"):
            bind(function)


def test_generators_are_refused_because_a_call_runs_none_of_them() -> None:
    @handler
    def stepwise() -> Iterator[int]:
        yield 1

    @handler
    async def stepwise_async() -> AsyncIterator[int]:
        yield 1

    @handler
    @functools.wraps(stepwise)
    def disguised() -> Iterator[int]:
        return stepwise()

    for function in (stepwise, stepwise_async, disguised):
        with pytest.raises(HandlerError, match=r"test_binding.py:\d+: handler 'stepwise.*`yield`"):
            bind(function)
