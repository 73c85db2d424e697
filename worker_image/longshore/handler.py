"""Handlers: the functions that do a queue's jobs, and the job as they see it.

    @handler(max_attempts=5)
    def transcode(job: Job, source: str, preset: str = "h264") -> None: ...

A decorated function stays the function it was. Decorating connects to nothing and reads nothing;
a worker finds handlers by importing the modules it is told to serve.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from longshore.contract.durations import parse_duration
from longshore.errors import (
    Discard,
    DuplicateHandler,
    Interrupted,
    MiddlewareError,
    Retry,
    Snooze,
    SoftTimeLimit,
)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSpec:
    """What a decorator said about its function."""

    name: str
    """On the wire: AMQP property `type`."""

    function: Callable[..., Any]
    max_attempts: int | None = None
    """Overrides the queue's `retry.maxAttempts`."""

    max_age: float | None = None
    """Seconds; overrides the queue's `retry.maxAge`."""

    hard_limit: float | None = None
    """Seconds; lowers the queue's `timeLimit.hard`."""

    soft_limit: float | None = None
    """Seconds; lowers the queue's `timeLimit.soft`."""

    retry_when: Callable[[Exception], bool] | None = None
    """Whether a job that failed with this exception is tried again."""

    throws: tuple[type[Exception], ...] = ()
    """Failures that are expected, and final."""

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
    handler: str
    """Wire name of its handler."""

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

    _throws: tuple[type[Exception], ...] = field(default=(), repr=False, compare=False)
    _report: Callable[[object], None] = field(default=lambda _: None, repr=False, compare=False)
    _is_lost: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    def progress(self, value: object) -> None:
        """Tell how far the job is: anything that JSON can say.

        Cheap enough for every step of a loop: at most one value per half second is sent.
        """
        self._report(value)

    @property
    def delivery_lost(self) -> bool:
        """Whether the broker has given the job to somebody else: stop, the outcome is void."""
        return self._is_lost()

    def expects(self, error: BaseException) -> bool:
        """Whether this way to end was announced, so that nobody need be alarmed.

        True for `Retry`, `Snooze`, `Discard`, what the handler `throws`, and a run that the worker
        cuts short for reasons of its own; False for any other failure.
        """
        if isinstance(error, Interrupted):
            return not isinstance(error, SoftTimeLimit)
        if isinstance(error, MiddlewareError):
            return False
        return isinstance(error, (Retry, Snooze, Discard, *self._throws))

    @property
    def seconds_left(self) -> float:
        """Time until `deadline`."""
        return (self.deadline - datetime.now(UTC)).total_seconds()


@overload
def handler(function: Function, /) -> Function: ...


@overload
def handler(
    *,
    name: str | None = None,
    max_attempts: int | None = None,
    max_age: float | str | None = None,
    hard_limit: float | str | None = None,
    soft_limit: float | str | None = None,
    retry_when: Callable[[Exception], bool] | None = None,
    throws: type[Exception] | tuple[type[Exception], ...] = (),
) -> Callable[[Function], Function]: ...


def handler(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    max_attempts: int | None = None,
    max_age: float | str | None = None,
    hard_limit: float | str | None = None,
    soft_limit: float | str | None = None,
    retry_when: Callable[[Exception], bool] | None = None,
    throws: type[Exception] | tuple[type[Exception], ...] = (),
) -> Any:
    """Make a function, sync or async, the handler of jobs named `name` (default: its own name).

    Durations are seconds or like `"10m"`. `max_attempts` and `max_age` take the place of the
    queue's `retry.maxAttempts` and `retry.maxAge`. `hard_limit` and `soft_limit` lower those of the
    queue's `timeLimit`; a worker whose queue allows less than they ask for does not start.

    `retry_when` is asked about each exception but `Retry`, `Snooze` and `Discard`; False makes the
    job a dead letter without another attempt. `throws` are failures that belong to the job's
    business: not tried again either, and told as news instead of as a fault.

    Raises ValueError or TypeError for an option that makes no sense anywhere.
    """
    if max_attempts is not None and max_attempts < 1:
        raise ValueError(f"max_attempts is {max_attempts}; it must be 1 or more")
    if name is not None and not 0 < len(name.encode()) <= _MAX_NAME:
        raise ValueError(f"name {name!r} must have 1 to {_MAX_NAME} bytes")
    options: dict[str, Any] = {
        "max_attempts": max_attempts,
        "max_age": _duration("max_age", max_age),
        "hard_limit": _duration("hard_limit", hard_limit),
        "soft_limit": _duration("soft_limit", soft_limit),
        "retry_when": _predicate(retry_when),
        "throws": _exceptions(throws),
    }

    def decorate(function: Function) -> Function:
        spec = HandlerSpec(name=name or function.__name__, function=function, **options)
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


def _duration(option: str, value: float | str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{option}: {error}") from None
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{option} is {value!r}; it must be longer than 0 seconds")
    return seconds


def _predicate(asked: object) -> object:
    if asked is not None and (not callable(asked) or inspect.iscoroutinefunction(asked)):
        raise TypeError(f"retry_when is {asked!r}; it must be a function, and not an async one")
    return asked


def _exceptions(throws: object) -> tuple[object, ...]:
    kinds = throws if isinstance(throws, tuple) else (throws,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise TypeError(f"throws has {kind!r}; it takes subclasses of Exception")
    return kinds


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
