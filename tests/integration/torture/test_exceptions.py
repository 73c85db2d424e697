"""Exceptions that resist being described, or come wrapped: their type decides all the same."""

from __future__ import annotations

import textwrap

import pytest

from tests.integration.worker.workers import Bench

pytestmark = pytest.mark.integration

JOBS = """
import asyncio
from longshore import Discard, Job, Retry, Snooze, handler

class Declined(Exception):
    def __str__(self): return self.reason  # nobody has set it
class Hopeless(Discard):
    def __str__(self): pass  # returns no string
class NotYet(Snooze):
    def __str__(self): raise RuntimeError
class Deep(BaseException):
    def __str__(self): raise Deep
class Masked(Discard):
    __class__ = property(lambda self: 1 / 0)
    __notes__ = property(lambda self: 1 / 0)

@handler(throws=Declined)
def throws(): raise Declined
@handler
def discard(): raise Hopeless("x")
@handler
def snooze(): raise NotYet(7)
@handler
def deep(): raise Deep
@handler
def masked(): raise Masked
@handler(retry_when=lambda error: False)
def final(): raise Declined

async def within_group(error):
    async def step(): raise error
    async with asyncio.TaskGroup() as group:
        group.create_task(step())
@handler
async def group_discard(): await within_group(Discard("no sense"))
@handler
async def group_retry(): await within_group(Retry(after=7))
@handler
async def group_snooze(): await within_group(Snooze(7))
@handler(throws=KeyError)
async def group_throws(): await within_group(KeyError("a"))
@handler(retry_when=lambda error: not isinstance(error, KeyError))
async def group_final(): await within_group(KeyError("a"))
"""


@pytest.mark.parametrize(
    ("handler", "outcome", "reason", "delay", "error"),
    [
        ("throws", "dead", "not-retryable", None, "Declined: <exception str() failed>"),
        ("discard", "dead", "discarded", None, "Hopeless: <exception str() failed>"),
        ("snooze", "snoozed", None, 7, "NotYet: <exception str() failed>"),
        ("deep", "retried", None, 1, "Deep: <exception str() failed>"),
        ("masked", "dead", "discarded", None, "Masked: the handler discarded the job"),
        ("final", "dead", "not-retryable", None, "Declined: <exception str() failed>"),
        ("group_discard", "dead", "discarded", None, "Discard: no sense"),
        ("group_retry", "retried", None, 7, "Retry: the handler requested another attempt"),
        ("group_snooze", "snoozed", None, 7, "Snooze: the handler snoozed the job"),
        ("group_throws", "dead", "not-retryable", None, "KeyError: 'a'"),
        ("group_final", "dead", "not-retryable", None, "KeyError: 'a'"),
    ],
)
def test_the_type_decides(
    bench: Bench, handler: str, outcome: str, reason: str | None, delay: float | None, error: str
) -> None:
    (bench.directory / "odd.py").write_text(textwrap.dedent(JOBS))
    worker = bench.started(handlers=["odd"])
    bench.enqueue(handler)
    told = worker.wait("job-settled")
    assert (told["outcome"], told.get("reason"), told.get("delay"), told["error"]) == (
        outcome,
        reason,
        delay,
        error,
    )
    assert told["attempt"] == 1
