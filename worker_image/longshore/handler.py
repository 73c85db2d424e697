"""Handlers: the functions that do a queue's jobs, and the job as they see it.

    @handler(max_attempts=5)
    def transcode(job: Job, source: str, preset: str = "h264") -> None: ...

A decorated function stays the function it was. Decorating connects to nothing and reads nothing;
a worker finds handlers by importing the modules it is told to serve.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from longshore.errors import DuplicateHandler

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSpec:
    """What a decorator said about its function."""

    name: str
    """On the wire: AMQP property `type`."""

    function: Callable[..., Any]
    max_attempts: int | None = None
    """Overrides the queue's `retry.maxAttempts`."""

    @property
    def place(self) -> str:
        """Where the function is written, as `file:line`."""
        code = getattr(self.function, "__code__", None)
        if code is None:
            return f"{self.function.__module__}.{self.function.__qualname__}"
        return f"{code.co_filename}:{code.co_firstlineno}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job that runs, for a handler whose first parameter is annotated `Job`."""

    id: str
    attempt: int
    """Counts from 1."""

    max_attempts: int
    queue: str
    enqueued_at: datetime
    """First enqueue, however often the job was tried since."""

    deadline: datetime
    """When the hard limit ends the job's processes."""

    traceparent: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    """Headers of the producer's own."""

    _report: Callable[[object], None] = field(repr=False, compare=False)
    _is_lost: Callable[[], bool] = field(repr=False, compare=False)

    def progress(self, value: object) -> None:
        """Tell how far the job is: anything that JSON can say.

        Cheap enough for every step of a loop: at most one value per half second is sent.
        """
        self._report(value)

    @property
    def delivery_lost(self) -> bool:
        """Whether the broker has given the job to somebody else: stop, the outcome is void."""
        return self._is_lost()

    @property
    def seconds_left(self) -> float:
        """Time until `deadline`."""
        return (self.deadline - datetime.now(UTC)).total_seconds()


@overload
def handler(function: Function, /) -> Function: ...


@overload
def handler(
    *, name: str | None = None, max_attempts: int | None = None
) -> Callable[[Function], Function]: ...


def handler(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    max_attempts: int | None = None,
) -> Any:
    """Make a function, sync or async, the handler of jobs named `name` (default: its own name).

    Raises ValueError when `max_attempts` is less than 1 or the name is empty or too long.
    """
    if max_attempts is not None and max_attempts < 1:
        raise ValueError(f"max_attempts is {max_attempts}; it must be 1 or more")
    if name is not None and not 0 < len(name.encode()) <= _MAX_NAME:
        raise ValueError(f"name {name!r} must have 1 to {_MAX_NAME} bytes")

    def decorate(function: Function) -> Function:
        spec = HandlerSpec(
            name=name or function.__name__, function=function, max_attempts=max_attempts
        )
        setattr(function, _SPEC, spec)
        _decorated.append(spec)
        return function

    return decorate if function is None else decorate(function)


def spec_of(function: Callable[..., Any]) -> HandlerSpec | None:
    """What `@handler` said about `function`; None when it was never decorated."""
    spec = getattr(function, _SPEC, None)
    return spec if isinstance(spec, HandlerSpec) else None


def discover(modules: Iterable[str]) -> dict[str, HandlerSpec]:
    """Import `modules` and give the handlers they define or name, by wire name.

    Raises DuplicateHandler, and whatever the imports raise.
    """
    found: dict[str, HandlerSpec] = {}
    for module in modules:
        for spec in _handlers_in(module):
            other = found.setdefault(spec.name, spec)
            if other.function is not spec.function:
                raise DuplicateHandler(
                    f"two handlers are named {spec.name!r}: {other.place} and {spec.place}; "
                    "give one of them another name with @handler(name=...)"
                )
    return found


_SPEC = "__longshore_handler__"
_MAX_NAME = 255  # AMQP's short string

_decorated: list[HandlerSpec] = []


def _handlers_in(name: str) -> list[HandlerSpec]:
    module = importlib.import_module(name)
    defined = [spec for spec in _decorated if spec.function.__module__ == name]
    # A package may gather the handlers of its modules by importing them.
    named = [spec for value in vars(module).values() if (spec := _spec_in(value))]
    return defined + [spec for spec in named if spec not in defined]


def _spec_in(value: object) -> HandlerSpec | None:
    return spec_of(value) if callable(value) and not isinstance(value, type) else None
