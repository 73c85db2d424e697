"""Middleware: what surrounds every job of a worker, for the sake of all handlers.

    @middleware
    @contextmanager
    def in_tenant(job: Job) -> Iterator[None]:
        with tenant(job.headers["tenant"]):
            yield

Two ways lead into a worker: `@middleware` in a module of handlers, or an entry point of the group
`longshore.middleware` in an installed package, chosen by name in `spec.worker.middleware`.
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
    """Called for each job whose arguments fit; the context it gives surrounds the handler's run.

    Within it stand sync and async handlers alike, so it is an ordinary context manager. It sees
    the handler's exception pass by; one that it swallows makes the job a success. It may raise
    `Retry`, `Snooze` or `Discard` like a handler. Any other exception of its own fails the attempt.

    Made in the process that forks all others: threads, connections and random state belong to the
    first call. A middleware that is no class may have a method `close()`, called when a child ends
    by itself, to send what is still held back; it has 0.8 s.
    """

    def __call__(self, job: Job, /) -> AbstractContextManager[object]: ...


Function = TypeVar("Function", bound=Middleware)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A middleware and what it is called in errors."""

    name: str
    function: Middleware

    @property
    def close(self) -> Callable[[], object] | None:
        """Its wish to be told of the end."""
        if isinstance(self.function, type):
            return None
        return getattr(self.function, "close", None)


def middleware(function: Function, /) -> Function:
    """Surround the jobs of every worker that serves this module, or one that names the function.

    The first one registered is the outermost. Raises TypeError for what is no `Middleware`.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    _check(name, function)
    _registered.append(Named(name=f"{function.__module__}.{name}", function=function))
    return function


def discover_middleware(modules: Iterable[str]) -> list[Named]:
    """Those that `modules`, imported already, define or name, in the order of registration."""
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
    """The installed middleware `name`. Raises MiddlewareError, which tells what is installed."""
    from importlib.metadata import entry_points  # half of what `import longshore` would cost

    installed = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    matching = [point for point in installed if point.name == name]
    if len(matching) != 1:
        what = "several installed packages have" if matching else "no installed package has"
        raise MiddlewareError(
            f"{what} an entry point {name!r} in the group {GROUP!r}; installed are: "
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
        raise TypeError(f"middleware {name!r} has a `yield`; put @contextmanager on it")
    bare = inspect.unwrap(function)
    if inspect.isasyncgenfunction(bare) or inspect.iscoroutinefunction(bare):
        raise TypeError(
            f"middleware {name!r} is async; a plain context manager surrounds async handlers too"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise TypeError(f"middleware {name!r} must take the job alone: {error}") from None
