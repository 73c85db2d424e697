"""The judge of random deaths must see what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.worker.deaths import Deaths, Run, Truth, account

FIRST, SECOND = Run(0, 1), Run(0, 2)
OTHER = Run(1, 1)


def line(outcome: str, run: Run, pid: int | None = None) -> str:
    event = {
        "event": "job-settled",
        "outcome": outcome,
        "job": str(run.job),
        "attempt": run.attempt,
    }
    return json.dumps({**event, "pid": pid})


def judged(log: list[str], **changes: Any) -> Deaths:
    """Job 0 dies in its handler in process 7 and is done in process 8, as job 1 is before it."""
    facts: dict[str, Any] = {
        "truths": {
            7: Truth(started=(OTHER, FIRST), ended=frozenset({OTHER})),
            8: Truth(started=(SECOND,), ended=frozenset({SECOND})),
        },
        "killed": [(7, FIRST)],
        "jobs": 2,
        "left": 0,
        "seconds": 1.0,
        **changes,
    }
    return account(facts.pop("truths"), log, **facts)


DONE = [line("succeeded", OTHER), line("succeeded", SECOND)]


def test_a_death_that_charged_its_job_is_right() -> None:
    found = judged([*DONE, line("retried", FIRST, 7)])
    assert (found.mismatches, found.missing) == (0, 0), found.examples
    assert (found.charged_in_handler, found.uncharged) == (1, 0)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(DONE, id="nobody is charged"),
        pytest.param([*DONE, line("retried", OTHER, 7)], id="another is charged"),
        pytest.param(
            [*DONE, line("retried", FIRST, 7), line("retried", OTHER, 7)], id="two are charged"
        ),
        pytest.param(
            [*DONE, line("retried", FIRST, 7), line("retried", FIRST, 7)], id="charged twice"
        ),
        pytest.param(
            [*DONE, line("retried", FIRST, 7), line("retried", Run(2, 1), 9)], id="without a death"
        ),
    ],
)
def test_a_death_that_charged_otherwise_is_a_mismatch(log: list[str]) -> None:
    assert judged(log).mismatches > 0


def test_an_attempt_that_began_twice_is_a_mismatch() -> None:
    truths = {
        7: Truth(started=(OTHER, FIRST), ended=frozenset({OTHER})),
        8: Truth(started=(FIRST, SECOND), ended=frozenset({FIRST, SECOND})),
    }
    assert judged([*DONE, line("retried", FIRST, 7)], truths=truths).mismatches > 0


def test_between_two_jobs_one_charge_or_none_is_right() -> None:
    truths = {
        7: Truth(started=(FIRST,), ended=frozenset({FIRST})),
        8: Truth(started=(SECOND, OTHER), ended=frozenset({SECOND, OTHER})),
    }
    killed = [(7, None), (8, None)]
    found = judged([*DONE, line("retried", FIRST, 7)], truths=truths, killed=killed)
    assert found.mismatches == 0, found.examples
    assert (found.charged_after_last_line, found.uncharged) == (1, 1)


def test_a_charge_before_the_handlers_first_line_is_counted() -> None:
    truths = {8: Truth(started=(SECOND, OTHER), ended=frozenset({SECOND, OTHER}))}
    found = judged([*DONE, line("retried", FIRST, 7)], truths=truths, killed=[(7, None)])
    assert found.mismatches == 0, found.examples
    assert found.charged_before_first_line == 1


def test_a_job_that_was_never_done_is_missing() -> None:
    found = judged([line("succeeded", OTHER), line("retried", FIRST, 7)])
    assert found.missing == 1
