"""For tests of handlers and middleware: jobs without a queue, and a check of the rules that every
middleware must follow."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.contract.durations import Span, seconds_in
from longshore.errors import Discard, Draining, Retry, Snooze, SoftTimeLimit
from longshore.handler import Job
from longshore.middleware import Middleware, load


def make_job(
    *,
    handler: str = "handler",
    attempt: int = 1,
    max_attempts: int = 5,
    queue: str = "test.queue",
    hard_limit: Span = 60.0,
    traceparent: str | None = None,
    headers: Mapping[str, Any] | None = None,
    expected: tuple[type[Exception], ...] = (),
) -> Job:
    """Return a job that begins now, as a handler or a middleware sees it.

    `expected` is the `throws` of its handler.
    """
    now = datetime.now(UTC)
    return Job(
        id="01900000-0000-7000-8000-000000000000",
        handler=handler,
        attempt=attempt,
        max_attempts=max_attempts,
        queue=queue,
        enqueued_at=now,
        deadline=now + timedelta(seconds=seconds_in(hard_limit)),
        traceparent=traceparent,
        headers=headers or {},
        _throws=expected,
    )


def check_middleware(middleware: Middleware | str) -> None:
    """Raise AssertionError unless `middleware`, or the installed one of this name, follows the
    rules.

    It must load, start no thread before the first job, work for one job after another, and let
    every exception pass unchanged. Middleware that intentionally decides how jobs end breaks the
    last rule; test such decisions separately. Raises MiddlewareError if a name cannot be loaded.
    """
    if isinstance(middleware, str):
        threads = threading.active_count()
        middleware = load(middleware).function
        started = threading.active_count() - threads
        assert started <= 0, (
            f"loading it starts {started} threads, which the following fork does not copy"
        )
    with middleware(make_job()):
        pass
    for error in (
        ValueError("a failure"),
        KeyError("an expected one"),
        Retry(after=1),
        Snooze(1),
        Discard(),
        SoftTimeLimit("the soft time limit has passed"),
        Draining("the worker shuts down"),
    ):
        _check_passing(middleware, error)
    with middleware(make_job(attempt=2, traceparent="nonsense", headers={"any": [1, {"b": None}]})):
        pass


def _check_passing(middleware: Middleware, error: BaseException) -> None:
    name = type(error).__name__
    seen: BaseException | None = None
    try:
        with middleware(make_job(expected=(KeyError,))):
            raise error
    except BaseException as passed:
        seen = passed
    assert seen is not None, f"{name} was swallowed: the job would count as succeeded"
    assert seen is error, f"{name} became {seen!r}: the job would end differently"
