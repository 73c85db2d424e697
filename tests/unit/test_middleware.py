"""What a plug-in's author gets: jobs to test with, and the rules of middleware as a check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import pytest

from longshore import Job, MiddlewareError, Retry, Snooze, SoftTimeLimit
from longshore.errors import Discard, Draining
from longshore.middleware import Middleware
from longshore.testing import check_middleware, make_job


@contextmanager
def good(job: Job) -> Iterator[None]:
    yield


@contextmanager
def swallows(job: Job) -> Iterator[None]:
    with suppress(ValueError):
        yield


@contextmanager
def swallows_even_interruptions(job: Job) -> Iterator[None]:
    with suppress(BaseException):
        yield


@contextmanager
def replaces(job: Job) -> Iterator[None]:
    try:
        yield
    except KeyError:
        raise RuntimeError("mine") from None


once: nullcontext[None] | None = nullcontext()


def works_once(job: Job) -> object:
    global once
    context, once = once, None
    return context


@pytest.mark.parametrize("middleware", [good, lambda job: nullcontext()])
def test_good_middleware_passes_the_check(middleware: Middleware) -> None:
    check_middleware(middleware)


@pytest.mark.parametrize(
    ("middleware", "said"),
    [
        (swallows, "ValueError was swallowed"),
        (swallows_even_interruptions, "was swallowed"),
        (replaces, r"KeyError became RuntimeError\('mine'\)"),
        (works_once, "became TypeError"),
    ],
)
def test_bad_middleware_does_not(middleware: Middleware, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_middleware(middleware)


@pytest.mark.parametrize("name", ["sentry", "opentelemetry"])
def test_what_comes_along_keeps_the_rules(name: str) -> None:
    # Elsewhere, as they set up their SDK for the whole process. Nobody waits for what they'd send.
    code = f"import longshore.testing as t, os; t.check_middleware({name!r}); os._exit(7)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 7, done.stderr


def test_a_name_that_is_not_installed_tells_what_is() -> None:
    with pytest.raises(
        MiddlewareError, match=r"'absent'.*these are installed: opentelemetry = .*sentry"
    ):
        check_middleware("absent")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Retry(), True),
        (Snooze(1), True),
        (Discard(), True),
        (Draining(), True),
        (SoftTimeLimit(), False),
        (KeyError(), True),
        (LookupError(), False),
        (SystemExit(), False),
        (MiddlewareError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_job_tells_what_was_announced(error: BaseException, expected: bool) -> None:
    assert make_job(expected=(KeyError,)).expects(error) is expected


def test_a_job_for_tests_runs_against_a_deadline_and_takes_progress() -> None:
    job = make_job(hard_limit=10.0)
    job.progress({"step": 1})
    assert 9.0 < job.seconds_left <= 10.0
    assert not job.delivery_lost
