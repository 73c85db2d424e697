"""Recorded rounds, judged once more by their histories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaos.again import judged
from chaos.history import Ended, Enqueued, Event, Fault, Started, line


def recorded(**found: Any) -> dict[str, Any]:
    return {
        "seed": 2,
        "series": "4.3",
        "nodes": 1,
        "seconds": 10.0,
        "settled_after": 1.5,
        "faults": {"stop-parent": 1},
        "failed": [],
        "passwords": [],
        "findings": {"jobs": 1, "runs": 2, "unexplained": ["by an older rule"], **found},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job that a stopped worker ran once more."""
    events: list[Event] = [
        Enqueued(number=1, kind="noop", queue="quick", asked_at=9.9, at=10.0, delay=0.0),
        Fault(kind="stop-parent", began=9.0, healed=12.0, ended=13.0, pods=("b",)),
        Started(number=1, attempt=1, pod="a", run="one", at=11.0),
        Ended(run="one", way="done", at=11.1),
        Started(number=1, attempt=1, pod="b", run="two", at=12.1),
        Ended(run="two", way="done", at=12.2),
    ]
    (tmp_path / "all.jsonl").write_text("".join(map(line, events)))
    return tmp_path


def test_findings_are_of_the_checker_as_it_is_now_and_all_else_is_kept(folder: Path) -> None:
    again = judged(recorded(), folder)
    assert (again.seed, again.series, again.settled_after) == (2, "4.3", 1.5)
    assert (again.findings.jobs, again.findings.runs, again.findings.repeats) == (1, 2, 1)
    assert again.findings.unexplained == []


def test_the_history_of_another_round_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="has 1 jobs and 2 runs; the round had 1 and 3"):
        judged(recorded(runs=3), folder)
