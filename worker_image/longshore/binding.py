"""Turns a job's JSON into a handler's arguments, checked against its annotations."""

from __future__ import annotations

import inspect
import os
import sys
import threading
import types
import typing
from typing import TYPE_CHECKING, Any, NotRequired, Required

import msgspec

from longshore.errors import HandlerError
from longshore.handler import HandlerSpec, Job

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


class NotAnObject(ValueError):
    """A body that is not a JSON object."""


class InvalidArguments(ValueError):
    """A JSON object whose members do not match the handler's parameters."""


class BoundHandler:
    """A handler whose parameters are known. Raises HandlerError if no job could fill them.

    pydantic decides which values an annotation allows. Importing it takes a third of a worker's
    start. So if all annotations are types of JSON itself, pydantic is used only for bodies that do
    not match as they are: it may still convert them, or it explains what is wrong.
    """

    def __init__(self, spec: HandlerSpec) -> None:
        _refuse_generators(spec)
        self._function = spec.function
        self.throws = spec.throws
        self.retry_when = spec.retry_when
        self._adapted: TypeAdapter[dict[str, Any]] | None = None
        parameters = _parameters(spec)
        annotations = _annotations(spec, parameters)
        job = _job_parameter(spec, parameters, annotations)
        self.takes_job = job is not None
        is_first = job is not None and job is parameters[0] and job.kind is not job.KEYWORD_ONLY
        self._job_name = None if job is None or is_first else job.name
        self._reserved = None if job is None or job.kind is job.POSITIONAL_ONLY else job.name
        parameters = [parameter for parameter in parameters if parameter is not job]
        self._spec, self._parameters, self._annotations = spec, parameters, annotations
        self._plain = _plain_decoder(parameters, annotations)
        self._has_defaults = any(each.default is not each.empty for each in parameters)
        if self._plain is None:
            self.prepare()

    def prepare(self) -> None:
        """Import pydantic and prepare it, so that children forked later share it."""
        self._adapter()

    def arguments(self, body: bytes) -> dict[str, Any]:
        """Return the keyword arguments in `body`. Raises NotAnObject or InvalidArguments."""
        if self._plain:
            try:
                found = self._plain.decode(body)
            except (ValueError, RecursionError):
                pass
            else:
                values = msgspec.structs.asdict(found)
                if not self._has_defaults:
                    return values
                return {name: value for name, value in values.items() if value is not msgspec.UNSET}
        adapter = self._adapter()
        from pydantic import ValidationError

        try:
            found_by_pydantic = adapter.validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            if first["type"] == "json_invalid" or (
                first["type"] == "dict_type" and not first["loc"]
            ):
                raise NotAnObject(f"the body is not a JSON object: {first['msg']}") from None
            raise InvalidArguments(_summary(error)) from None
        if self._reserved in found_by_pydantic:  # if the handler also takes `**others`
            raise InvalidArguments(f"{self._reserved}: the worker itself passes the job here")
        return found_by_pydantic

    def call(self, job: Job | None, arguments: dict[str, Any]) -> Any:
        """Run the handler and return its result; the caller must await it if it is awaitable.

        A decorator may hide an `async def`, so only the result shows that.

        `job` is ignored if the handler does not take it (`takes_job`).
        """
        if self._job_name is not None:
            return self._function(**arguments, **{self._job_name: job})
        if self.takes_job:
            return self._function(job, **arguments)
        return self._function(**arguments)

    def _adapter(self) -> TypeAdapter[dict[str, Any]]:
        # Not a `cached_property`: that holds a lock, which a fork would copy.
        if self._adapted is None:
            with _importing:
                self._adapted = _type_adapter(self._spec, self._parameters, self._annotations)
        return self._adapted


_importing = threading.RLock()
"""Held while pydantic is imported, and during each fork: a fork in the middle of an import would
leave the child with a lock of that module that is never released."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire,
        after_in_parent=_importing.release,
        after_in_child=_importing.release,
    )


def _parameters(spec: HandlerSpec) -> list[inspect.Parameter]:
    try:
        parameters = list(inspect.signature(spec.function).parameters.values())
    except (ValueError, TypeError) as error:
        raise HandlerError(
            f"{spec.place}: the parameters of {spec.name!r} cannot be read: {error}"
        ) from error
    if parameters and parameters[0].name in ("self", "cls"):
        raise HandlerError(
            f"{spec.place}: handler {spec.name!r} takes {parameters[0].name!r} as methods do, so "
            "no job can call it; write a function, or put @staticmethod above @handler"
        )
    return parameters


def _job_parameter(
    spec: HandlerSpec, parameters: list[inspect.Parameter], annotations: dict[str, Any]
) -> inspect.Parameter | None:
    """Return the parameter that gets the job; None if there is none."""
    jobs = [each for each in parameters if _mentions_job(annotations.get(each.name))]
    for each in jobs:
        is_one = each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        if not _is_job(annotations[each.name]) or not is_one or len(jobs) > 1:
            raise HandlerError(
                f"{spec.place}: parameter {each.name!r} of {spec.name!r} cannot receive the job; "
                "annotate exactly one parameter as `Job`, preferably the first"
            )
    return jobs[0] if jobs else None


def _is_job(annotation: Any) -> bool:
    """Return whether it is `Job`, possibly optional or with further metadata."""
    if annotation is Job:
        return True
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _is_job(inner[0])
    others = [each for each in inner if each is not type(None)]
    return origin in (types.UnionType, typing.Union) and len(others) == 1 and _is_job(others[0])


def _mentions_job(annotation: Any) -> bool:
    return annotation is Job or any(map(_mentions_job, typing.get_args(annotation)))


def _refuse_generators(spec: HandlerSpec) -> None:
    # Also behind decorators. A call only creates the generator: the job would succeed without
    # running.
    function = inspect.unwrap(spec.function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlerError(
            f"{spec.place}: handler {spec.name!r} contains `yield`, so a call would not run it; "
            "use return, or consume the generator in a handler without `yield`"
        )


def _annotations(spec: HandlerSpec, parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Return only the annotations of parameters: that of the return value may be unresolvable."""
    namespace = getattr(inspect.unwrap(spec.function), "__globals__", {})
    written = _as_written(spec.function)
    found: dict[str, Any] = {}
    for name in [each.name for each in parameters if each.name in written]:
        one = types.SimpleNamespace(
            __annotations__={name: written[name]},
            __type_params__=getattr(spec.function, "__type_params__", ()),
        )
        try:
            found |= typing.get_type_hints(one, globalns=namespace, include_extras=True)
        except Exception as error:  # an annotation is code, and may raise anything
            raise HandlerError(
                f"{spec.place}: the annotation of parameter {name!r} of {spec.name!r} cannot be "
                f"read: {type(error).__name__}: {error}"
            ) from error
    return found


def _as_written(function: object) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        as_forward = annotationlib.Format.FORWARDREF
        return dict(annotationlib.get_annotations(function, format=as_forward))
    return dict(getattr(function, "__annotations__", {}))


def _plain_decoder(
    parameters: list[inspect.Parameter], annotations: dict[str, Any]
) -> msgspec.json.Decoder[msgspec.Struct] | None:
    """Return a decoder for bodies whose values match the annotations without conversion; None if
    it could not decide that."""
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
    """Return whether it is a type of JSON, or consists of lists, objects and unions of such."""
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
    from typing_extensions import TypedDict

    members: dict[str, Any] = {}
    extra: typing.Literal["allow", "forbid"] = "forbid"
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise HandlerError(
                f"{spec.place}: parameter {str(parameter)!r} of {spec.name!r} cannot be passed by "
                "name; jobs pass arguments by keyword"
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
    except Exception as error:  # pydantic's, or of a schema that the user's type makes itself
        said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        raise HandlerError(
            f"{spec.place}: a parameter of {spec.name!r} cannot be read from JSON: {said}"
        ) from error


def _summary(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)
    # Without the values: errors end up in logs and status, and arguments may be secret.
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in problems[:_PROBLEMS_SHOWN]
    )


_PROBLEMS_SHOWN = 10
