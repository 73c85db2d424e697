"""Middleware: code that runs around every job of a worker, whatever its handler.

    @middleware
    @contextmanager
    def in_tenant(job: Job) -> Iterator[None]:
        with tenant(job.headers["tenant"]):
            yield

A worker uses middleware from two sources: `@middleware` in a module of handlers, and entry points
in the group `longshore.middleware` of installed packages, chosen by name in
`spec.worker.middleware`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from longshore.errors import MiddlewareError
from longshore.handler import Job

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "longshore.middleware"
"""Entry point group of installable middleware."""


class Middleware(Protocol):
    """Called for each job whose arguments are valid; the handler runs inside the context that it
    returns.

    The context manager is an ordinary one for sync and async handlers alike. The handler's
    exception passes through it; if it swallows the exception, the job counts as succeeded. It may
    raise `Retry`, `Snooze` or `Discard` like a handler. Any other exception that it raises fails
    the attempt.

    The middleware is created in the process that forks all others, so it must create threads,
    connections and random state only when it is first called. A middleware that is not a class may
    have a method `close()` to send what it has buffered. It is called when a child ends by itself,
    and has 0.8 s.
    """

    def __call__(self, job: Job, /) -> AbstractContextManager[object]: ...


Function = TypeVar("Function", bound=Middleware)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A middleware with its name for error messages."""

    name: str
    function: Middleware

    @property
    def close(self) -> Callable[[], object] | None:
        """Its method `close`, called when a child ends; None if it has none."""
        if isinstance(self.function, type):
            return None
        return getattr(self.function, "close", None)


def middleware(function: Function, /) -> Function:
    """Register a middleware for every worker that serves this module or one that imports it.

    The one registered first is the outermost. Raises TypeError for what is not a `Middleware`.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    _check(name, function)
    _registered.append(Named(name=f"{function.__module__}.{name}", function=function))
    return function


def discover_middleware(modules: Iterable[str]) -> list[Named]:
    """Return the middleware that `modules`, which are already imported, define or import, in the
    order of registration."""
    found: list[Named] = []
    for name in modules:
        values = [id(value) for value in vars(importlib.import_module(name)).values()]
        found += [
            each
            for each in _registered
            if each.function.__module__ == name or id(each.function) in values
        ]
    return [each for each in _registered if each in found]


def load(name: str) -> Named:
    """Return the installed middleware `name`. Raises MiddlewareError, whose message lists what is
    installed."""
    from importlib.metadata import entry_points  # half of what `import longshore` would cost

    installed = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    matching = [point for point in installed if point.name == name]
    if len(matching) != 1:
        what = "several installed packages have" if matching else "no installed package has"
        raise MiddlewareError(
            f"{what} an entry point {name!r} in the group {GROUP!r}; these are installed: "
            f"{', '.join(map(_described, installed)) or 'none'}"
        )
    try:
        function = matching[0].load()
        _check(name, function)
    except Exception as error:
        raise MiddlewareError(
            f"{_described(matching[0])} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return Named(name=name, function=function)


_registered: list[Named] = []


def _described(point: EntryPoint) -> str:
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.name} = {point.value}{package}"


def _check(name: str, function: object) -> None:
    if not callable(function):
        raise TypeError(f"middleware {name!r} is {function!r}; it must be a function of a job")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"middleware {name!r} contains `yield`; decorate it with @contextmanager")
    bare = inspect.unwrap(function)
    if inspect.isasyncgenfunction(bare) or inspect.iscoroutinefunction(bare):
        raise TypeError(
            f"middleware {name!r} is async; use a sync context manager, also for async handlers"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise TypeError(
            f"middleware {name!r} must take the job as its only argument: {error}"
        ) from None
