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
from longshore.binding import Binding, InvalidArguments, NotAnObject
from longshore.errors import HandlerError
from longshore.handler import HandlerSpec, spec_of


class Point(BaseModel):
    x: int
    y: int = 0


def bind(function: Any) -> Binding:
    spec = spec_of(function)
    assert isinstance(spec, HandlerSpec)
    return Binding(spec)


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
    def work(a, b=0): ...

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
    def work(a: typing.Dict, b: typing.List = [], __c: int = 0) -> None: ...  # noqa: B006, UP006 - old ways are the test

    body = b'{"a": {"x": [1]}, "__c": "2"}'
    assert bind(work).arguments(body) == {"a": {"x": [1]}, "__c": 2}


def test_a_validator_that_raises_of_its_own_is_the_handlers_failure() -> None:
    @handler
    def inner(a: int) -> None:
        Point(x="no")

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
    def foreign(a: socket.socket) -> None: ...  # noqa: F821 - a name that is not there is the test

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
