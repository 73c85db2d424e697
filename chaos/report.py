"""What came of the rounds, with a check for each number that was asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from chaos.checker import Findings, Pause
from chaos.collecting import PATIENCE

RESUMES_WITHIN = 15.0
RESUMES_AFTER_RABBITMQ_WITHIN = 30.0
JOBS = 100_000
FAULTS = 200
OF_EACH_KIND = 3
PAUSES = 3
"""Pauses that must have been measured, or the longest one would say nothing."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One seed on one RabbitMQ."""

    seed: int
    series: str
    nodes: int
    seconds: float
    settled_after: float
    faults: dict[str, int]
    failed: list[str]
    """Faults that could not be made."""

    passwords: list[str]
    """Places where one stands that must not."""

    findings: Findings

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.findings.is_clean and not self.failed and not self.passwords and self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether every job had ended soon after the last fault: jobs that stand still for ever are
        not lost, and yet all is not well."""
        return self.settled_after < PATIENCE

    def as_json(self) -> dict[str, Any]:
        found = asdict(self.findings)
        return {
            **asdict(self),
            "findings": {**found, "pauses": [asdict(pause) for pause in self.findings.pauses]},
            "lost": len(self.findings.lost),
            "unexplained_repeats": len(self.findings.unexplained),
            "illegal": len(self.findings.illegal),
            "late_kills": len(self.findings.late_kills),
            "longest_pause": longest(self.findings.pauses),
        }


def longest(pauses: list[Pause]) -> float:
    """Seconds; 0 where none was measured."""
    return max((pause.seconds for pause in pauses), default=0.0)


def checks(rounds: list[Round]) -> list[dict[str, Any]]:
    """Each number that was asked for, over all rounds."""
    kinds: Counter[str] = Counter()
    for each in rounds:
        kinds.update(each.faults)
    found = [each.findings for each in rounds]
    pauses = [pause for each in found for pause in each.pauses]
    worker = [pause for pause in pauses if not pause.restarts_rabbitmq]
    rabbitmq = [pause for pause in pauses if pause.restarts_rabbitmq]
    on_three = sum(sum(each.faults.values()) for each in rounds if each.nodes == 3)
    return [
        _at_least("jobs", JOBS, sum(each.jobs for each in found)),
        _at_least("faults", FAULTS, kinds.total()),
        _at_least("faults of the rarest kind", OF_EACH_KIND, min(kinds.values(), default=0)),
        _at_least("share of faults on three nodes", 0.5, on_three / max(1, kinds.total())),
        _at_most("lost", 0, sum(len(each.lost) for each in found)),
        _at_most("unexplained repeats", 0, sum(len(each.unexplained) for each in found)),
        _at_most("illegal histories", 0, sum(len(each.illegal) for each in found)),
        _at_most("places with a password", 0, sum(len(each.passwords) for each in rounds)),
        _at_most("rounds that did not settle", 0, sum(not each.is_settled for each in rounds)),
        _at_most("late kills", 0, sum(len(each.late_kills) for each in found)),
        # Of faults that no other one overlapped: without any, the next two would say nothing.
        _at_least("pauses measured", PAUSES, len(worker)),
        _at_least("pauses measured after RabbitMQ", PAUSES, len(rabbitmq)),
        _at_most("longest pause, s", RESUMES_WITHIN, longest(worker)),
        _at_most(
            "longest pause after RabbitMQ, s", RESUMES_AFTER_RABBITMQ_WITHIN, longest(rabbitmq)
        ),
    ]


def _at_least(name: str, target: float, measured: float) -> dict[str, Any]:
    return {"name": name, "target": target, "measured": measured, "ok": measured >= target}


def _at_most(name: str, target: float, measured: float) -> dict[str, Any]:
    return {"name": name, "target": target, "measured": measured, "ok": measured <= target}
