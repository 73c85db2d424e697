"""From a job's JSON to a handler's arguments, checked against its annotations."""

import inspect
import types
import typing
from typing import Any, NotRequired, Required

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from typing_extensions import TypedDict

from longshore.errors import HandlerError
from longshore.handler import HandlerSpec, Job


class NotAnObject(ValueError):
    """A body that is not a JSON object."""


class InvalidArguments(ValueError):
    """A JSON object whose members do not fit the handler's parameters."""


class Binding:
    """A handler with its parameters known. Raises HandlerError when they cannot be filled."""

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
        self._arguments = _adapter(spec, parameters, annotations)

    def arguments(self, body: bytes) -> dict[str, Any]:
        """Keyword arguments in `body`. Raises NotAnObject or InvalidArguments."""
        try:
            return self._arguments.validate_json(body)
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


def _adapter(
    spec: HandlerSpec, parameters: list[inspect.Parameter], annotations: dict[str, Any]
) -> TypeAdapter[dict[str, Any]]:
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
