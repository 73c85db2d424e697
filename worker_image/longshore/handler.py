"""Handlers: the functions that run a queue's jobs, and the job as they see it.

    @handler(max_attempts=5)
    def transcode(job: Job, source: str, preset: str = "h264") -> None: ...

A decorated function remains the function that it was. The decorator neither connects to anything
nor reads anything; a worker finds handlers by importing the modules that it is configured to serve.
"""

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from longshore.contract.durations import Span, seconds_in
from longshore.contract.names import plain
from longshore.errors import (
    Discard,
    DuplicateHandler,
    HandlerError,
    Interrupted,
    MiddlewareError,
    Retry,
    Snooze,
    SoftTimeLimit,
)

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandlerSpec:
    """A function with the options that `@handler` was given.

    Each is equal only to itself, because the user's objects in it may not be hashable.
    """

    name: str
    """The handler's name on the wire: the AMQP property `type`."""

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
    """Returns whether a job that failed with this exception is retried."""

    throws: tuple[type[Exception], ...] = ()
    """Exceptions that are expected and final."""

    @property
    def place(self) -> str:
        """Where the function is defined, as `file:line`."""
        code = getattr(self.function, "__code__", None)
        if code is None:
            return f"{self.function.__module__}.{self.function.__qualname__}"
        return f"{code.co_filename}:{code.co_firstlineno}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The running job, for a handler that has a parameter annotated `Job`.

    It can be pickled, for a pool of processes. The copy has all data of the job, but is not
    connected to it: `progress` has no effect, and `delivery_lost` is False.
    """

    id: str
    handler: str
    """Name of its handler."""

    attempt: int
    """Counts from 1."""

    max_attempts: int
    queue: str
    enqueued_at: datetime
    """Time of the first enqueue, regardless of later attempts."""

    deadline: datetime
    """When the hard limit is reached and the job's processes are killed."""

    traceparent: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    """The headers that the producer has set."""

    _throws: tuple[type[Exception], ...] = field(default=(), repr=False, compare=False)
    _report: Callable[[object], None] = field(default=lambda _: None, repr=False, compare=False)
    _is_lost: Callable[[], bool] = field(default=lambda: False, repr=False, compare=False)

    def progress(self, value: object) -> None:
        """Report how far the job is, as any value that JSON can represent.

        This is cheap enough for every step of a loop: at most one value per half second is sent.
        """
        self._report(value)

    @property
    def delivery_lost(self) -> bool:
        """Whether RabbitMQ has given the job to another worker. If so, stop: the outcome of this
        run is ignored."""
        return self._is_lost()

    def expects(self, error: BaseException) -> bool:
        """Return whether ending with `error` is expected, so that nobody needs to be alerted.

        True for `Retry`, `Snooze`, `Discard`, the handler's `throws`, and a run that the worker
        interrupts for its own reasons; False for any other failure.
        """
        if isinstance(error, Interrupted):
            return not isinstance(error, SoftTimeLimit)
        if isinstance(error, MiddlewareError):
            return False
        return isinstance(error, (Retry, Snooze, Discard, *self._throws))

    @property
    def seconds_left(self) -> float:
        """Seconds until `deadline`."""
        return (self.deadline - datetime.now(UTC)).total_seconds()

    def __reduce__(self) -> tuple[Any, ...]:
        names = [each.name for each in fields(self) if each.name not in _CONNECTIONS]
        return _disconnected, ({name: getattr(self, name) for name in names},)

    def __copy__(self) -> "Job":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Job":
        return replace(self, headers=copy.deepcopy(self.headers, memo))


_CONNECTIONS = ("_report", "_is_lost")


def _disconnected(values: dict[str, Any]) -> Job:
    return Job(**values)


@overload
def handler(function: Function, /) -> Function: ...


@overload
def handler(
    *,
    name: str | None = None,
    max_attempts: int | None = None,
    max_age: Span | None = None,
    hard_limit: Span | None = None,
    soft_limit: Span | None = None,
    retry_when: Callable[[Exception], bool] | None = None,
    throws: type[Exception] | tuple[type[Exception], ...] = (),
) -> Callable[[Function], Function]: ...


def handler(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    max_attempts: int | None = None,
    max_age: Span | None = None,
    hard_limit: Span | None = None,
    soft_limit: Span | None = None,
    retry_when: Callable[[Exception], bool] | None = None,
    throws: type[Exception] | tuple[type[Exception], ...] = (),
) -> Any:
    """Make a function, sync or async, the handler of jobs named `name` (default: its own name).

    Durations are seconds, a timedelta or a string such as `"10m"`. `max_attempts` and `max_age`
    override the queue's `retry.maxAttempts` and `retry.maxAge`. `hard_limit` and `soft_limit` lower
    those of the queue's `timeLimit`; if they exceed the queue's, the worker does not start.

    `retry_when` is called with each exception except `Retry`, `Snooze` and `Discard`; if it returns
    False, the job becomes a dead letter without another attempt. `throws` lists exceptions that are
    a regular result of the job: they are not retried either, and are logged as information instead
    of as an error.

    Place it above all other decorators, because a worker calls the function that it decorates.
    Raises ValueError or TypeError for an option that can never be valid, and for what cannot be a
    handler: a class, a method, a `functools.partial` or any other callable without a name.
    """
    if max_attempts is not None and max_attempts < 1:
        raise ValueError(f"max_attempts is {max_attempts}; it must be 1 or more")
    if name is not None:
        name = _check_name(name)
    options: dict[str, Any] = {
        "max_attempts": max_attempts,
        "max_age": _duration("max_age", max_age),
        "hard_limit": _duration("hard_limit", hard_limit),
        "soft_limit": _duration("soft_limit", soft_limit),
        "retry_when": _predicate(retry_when),
        "throws": _exceptions(throws),
    }

    def decorate(function: Function) -> Function:
        _check_function(function)
        spec = HandlerSpec(
            name=name or _check_name(function.__name__), function=function, **options
        )
        try:
            setattr(function, _SPEC, spec)
        except (AttributeError, TypeError):
            raise TypeError(f"@handler takes a Python function, not {function!r}") from None
        _decorated.append(spec)
        return function

    return decorate if function is None else decorate(function)


def spec_of(function: Callable[..., Any]) -> HandlerSpec | None:
    """Return the HandlerSpec of `function`; None if it was not decorated with `@handler`."""
    spec = getattr(function, _SPEC, None)
    return spec if isinstance(spec, HandlerSpec) else None


def discover_handlers(modules: Iterable[str]) -> dict[str, HandlerSpec]:
    """Import `modules` and return the handlers that they define or import, by name.

    Raises HandlerError for a handler that could not run as it is written, DuplicateHandler if two
    have the same name, and whatever the imports raise.
    """
    found: dict[str, HandlerSpec] = {}
    for module in modules:
        for spec in _handlers_in(module):
            _check_place(spec)
            other = found.setdefault(spec.name, spec)
            if other.function is not spec.function:
                raise DuplicateHandler(
                    f"two handlers are named {spec.name!r}: {other.place} and {spec.place}; "
                    "give one of them another name with @handler(name=...)"
                )
    return found


def _duration(option: str, value: Span | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = seconds_in(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{option}: {error}") from None
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{option} is {value!r}; it must be longer than 0 seconds")
    return seconds


def _predicate(asked: object) -> object:
    if asked is not None and (not callable(asked) or inspect.iscoroutinefunction(asked)):
        raise TypeError(f"retry_when is {asked!r}; it must be a function that is not async")
    return asked


def _exceptions(throws: object) -> tuple[object, ...]:
    kinds = throws if isinstance(throws, tuple) else (throws,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise TypeError(f"throws contains {kind!r}; it takes subclasses of Exception")
    return kinds


def _check_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}; it must be a string")
    try:
        is_short = 0 < len(name.encode()) <= _MAX_NAME
    except UnicodeEncodeError:
        raise ValueError(f"name {name!r} cannot be encoded as UTF-8") from None
    if not is_short:
        raise ValueError(f"name {name!r} must have 1 to {_MAX_NAME} bytes")
    return plain(name)


def _check_function(function: object) -> None:
    if isinstance(function, type):
        raise TypeError(f"@handler takes a function, not the class {function.__qualname__!r}")
    names = [getattr(function, name, None) for name in ("__name__", "__qualname__", "__module__")]
    if not callable(function) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"@handler takes a function, not {function!r}, which has no name; "
            "write a function `def NAME(...)` that calls it"
        )
    if inspect.ismethod(function):
        raise TypeError(f"@handler takes a function, not the method {function.__qualname__!r}")


def _check_place(spec: HandlerSpec) -> None:
    """Raise HandlerError if the function is a method, or if its module holds another object under
    its name."""
    *outer, name = spec.function.__qualname__.split(".")
    holder: object = sys.modules.get(spec.function.__module__)
    for each in outer:
        holder = _named(holder, each)
    found = _named(holder, name)
    if found is spec.function or isinstance(found, classmethod):
        if outer and not isinstance(found, staticmethod):
            raise HandlerError(
                f"{spec.place}: handler {spec.name!r} is a method of {'.'.join(outer)}, so no job "
                "can call it; write a function, or put @staticmethod above @handler"
            )
        return
    if not callable(found) or isinstance(found, staticmethod) or _is_found(spec.function, holder):
        return
    other = spec_of(found)
    if other is not None and other.function is found:
        return  # a handler with another name, defined later as the same Python name
    raise HandlerError(
        f"{spec.place}: {spec.function.__module__}.{spec.function.__qualname__} is {found!r}, not "
        f"the handler {spec.name!r}: a decorator above @handler never runs for a job; place "
        "@handler above all others"
    )


def _named(holder: object, name: str) -> object:
    # The qualified name of an inner function contains `<locals>`, which is found nowhere.
    return getattr(holder, "__dict__", {}).get(name)


def _is_found(function: object, holder: object) -> bool:
    return any(value is function for value in getattr(holder, "__dict__", {}).values())


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
