"""What became of each job, judged from what was enqueued, what ran, and what died."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

DESIGNED_END = {
    "render": "succeeded",
    "plain-amqp": "succeeded",
    "panorama": "succeeded",
    "endless": "hard-limit",
    "crash": "worker-lost",
    "invalid": "invalid-arguments",
}
"""How a job of each kind must end: by succeeding, or as a dead letter with this reason."""


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """One job as its producer printed it."""

    id: str
    kind: str
    enqueued_ms: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One line of the ledger: a handler came to its end."""

    id: str
    started_ms: int
    ended_ms: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """`build/demo.json`."""

    enqueued: int
    succeeded: int
    dead: int
    lost: int
    ran_twice: int
    seconds_to_first_start: float
    seconds_total: float
    max_workers: int
    workers_at_end: int

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def ends(
    enqueued: Sequence[Enqueued], runs: Sequence[Run], dead: dict[str, str]
) -> dict[str, Counter[str]]:
    """For each kind of job, how often it ended in which way; `dead` maps ids to reasons."""
    completed = Counter(run.id for run in runs)
    found: dict[str, Counter[str]] = {}
    for job in enqueued:
        end = dead.get(job.id) or ("succeeded" if completed[job.id] else "lost")
        if completed[job.id] > 1:
            end = "ran-twice"
        found.setdefault(job.kind, Counter())[end] += 1
    return found


def faults(found: dict[str, Counter[str]]) -> list[str]:
    """What did not end as designed, in words; empty when all is well."""
    wrong = [
        f"{count} of kind {kind} ended as {end}, not as {DESIGNED_END[kind]}"
        for kind, counts in found.items()
        for end, count in counts.items()
        if end != DESIGNED_END[kind]
    ]
    missing = DESIGNED_END.keys() - found.keys()
    return wrong + [f"no job of kind {kind} was enqueued" for kind in sorted(missing)]
