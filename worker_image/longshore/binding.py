"""From a job's JSON to a handler's arguments, checked against its annotations."""

from __future__ import annotations

import inspect
import types
import typing
from functools import cached_property
from typing import TYPE_CHECKING, Any, NotRequired, Required

import msgspec

from longshore.errors import HandlerError
from longshore.handler import HandlerSpec, Job

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


class NotAnObject(ValueError):
    """A body that is not a JSON object."""


class InvalidArguments(ValueError):
    """A JSON object whose members do not fit the handler's parameters."""


class Binding:
    """A handler with its parameters known. Raises HandlerError when they cannot be filled.

    What an argument may be is what pydantic makes of the annotation. Its import is a third of a
    worker's start, so where all annotations are JSON's own types it is asked only about bodies that
    do not fit as they are: it may still convert them, or says what is wrong.
    """

    def __init__(self, spec: HandlerSpec) -> None:
        _refuse_generators(spec)
        self._function = spec.function
        self.throws = spec.throws
        self.retry_when = spec.retry_when
        parameters = list(inspect.signature(spec.function).parameters.values())
        annotations = _annotations(spec)
        self.takes_job = bool(parameters) and annotations.get(parameters[0].name) is Job
        if self.takes_job:
            del parameters[0]
        self._spec, self._parameters, self._annotations = spec, parameters, annotations
        self._plain = _plain_decoder(parameters, annotations)
        if self._plain is None:
            self.prepare()

    def prepare(self) -> None:
        """Have pydantic ready: children that are forked later share it."""
        self._adapter  # noqa: B018 - made once, where it is asked for first

    def arguments(self, body: bytes) -> dict[str, Any]:
        """Keyword arguments in `body`. Raises NotAnObject or InvalidArguments."""
        if self._plain:
            try:
                found = self._plain.decode(body)
            except (ValueError, RecursionError):
                pass
            else:
                values = msgspec.structs.asdict(found)
                return {name: value for name, value in values.items() if value is not msgspec.UNSET}
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            if first["type"] == "json_invalid" or (
                first["type"] == "dict_type" and not first["loc"]
            ):
                raise NotAnObject(f"the body is not a JSON object: {first['msg']}") from None
            raise InvalidArguments(_summary(error)) from None

    def call(self, job: Job | None, arguments: dict[str, Any]) -> Any:
        """Run the handler; a result that is awaitable is yet to be awaited.

        A decorator may hide an `async def`, so only the result tells.

        `job` is not looked at where the handler does not take it (`takes_job`).
        """
        if self.takes_job:
            return self._function(job, **arguments)
        return self._function(**arguments)

    @cached_property
    def _adapter(self) -> TypeAdapter[dict[str, Any]]:
        return _type_adapter(self._spec, self._parameters, self._annotations)


def _refuse_generators(spec: HandlerSpec) -> None:
    # Behind decorators too. A call only makes the generator: the job would succeed without running.
    function = inspect.unwrap(spec.function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlerError(
            f"{spec.place}: handler {spec.name!r} has a `yield`, so a call would run none of it; "
            "return instead, or consume the generator in a handler without `yield`"
        )


def _annotations(spec: HandlerSpec) -> dict[str, Any]:
    try:
        return typing.get_type_hints(spec.function, include_extras=True)
    except NameError as error:
        raise HandlerError(
            f"{spec.place}: an annotation of {spec.name!r} is unknown: {error}"
        ) from error


def _plain_decoder(
    parameters: list[inspect.Parameter], annotations: dict[str, Any]
) -> msgspec.json.Decoder[msgspec.Struct] | None:
    """Reads bodies whose values are what the annotations say as they are; None where that is not
    enough to say."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in parameters:
        annotation = annotations.get(parameter.name, Any)
        if parameter.kind not in _BY_NAME or not _is_plain(annotation):
            return None
        if parameter.default is parameter.empty:
            fields.append((parameter.name, annotation))
        else:
            optional = annotation | msgspec.UnsetType
            fields.append((parameter.name, optional, msgspec.UNSET))
    try:
        shape = msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)
        return msgspec.json.Decoder(shape)
    except (TypeError, RuntimeError):  # a union or a name that msgspec does not take
        return None


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _is_plain(annotation: Any) -> bool:
    """Whether it is a type of JSON, or lists, objects and alternatives of such."""
    if annotation in (Any, str, bool, int, float, list, dict, type(None)):
        return True
    inner = typing.get_args(annotation)
    if typing.get_origin(annotation) not in (list, dict, types.UnionType, typing.Union):
        return False
    if typing.get_origin(annotation) is dict and inner and inner[0] is not str:
        return False
    return all(_is_plain(each) for each in inner)


def _type_adapter(
    spec: HandlerSpec, parameters: list[inspect.Parameter], annotations: dict[str, Any]
) -> TypeAdapter[dict[str, Any]]:
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError
    from typing_extensions import TypedDict

    members: dict[str, Any] = {}
    extra: typing.Literal["allow", "forbid"] = "forbid"
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise HandlerError(
                f"{spec.place}: parameter {str(parameter)!r} of {spec.name!r} has no name that a "
                "JSON object could use; jobs pass arguments by keyword"
            )
        else:
            annotation = annotations.get(parameter.name, Any)
            is_required = parameter.default is parameter.empty
            members[parameter.name] = (Required if is_required else NotRequired)[annotation]

    def settle(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = members
        namespace["__pydantic_config__"] = ConfigDict(extra=extra, arbitrary_types_allowed=False)

    try:
        # A TypedDict, not a model: parameters may be named `json` or `copy` or start with `_`.
        shape = types.new_class("Arguments", (TypedDict,), exec_body=settle)
        return TypeAdapter(shape)
    except PydanticUserError as error:
        raise HandlerError(
            f"{spec.place}: a parameter of {spec.name!r} cannot be read from JSON: {error.message}"
        ) from error


def _summary(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # Values stay out of it: errors travel to logs and status, arguments may be secret.
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in problems[:_PROBLEMS_SHOWN]
    )


_PROBLEMS_SHOWN = 10
