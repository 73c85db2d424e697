"""The results as JSON for machines and as tables for people."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.worker.checks import Check
from benchmarks.worker.contenders import LONGSHORE
from benchmarks.worker.drains import Round
from benchmarks.worker.machine import Machine
from benchmarks.worker.spread import Spread, spread
from benchmarks.worker.throughput import Spoiled, Summary, ratios


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of one run."""

    commit: str | None
    taken_at: str
    machine: Machine
    settings: dict[str, Any]
    throughput: list[Summary]
    measurements: dict[str, Any]
    checks: list[Check]
    rounds: list[Round | Spoiled] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """The results file."""
        return {
            "commit": self.commit,
            "taken_at": self.taken_at,
            "machine": asdict(self.machine),
            "settings": self.settings,
            "throughput": [asdict(each) for each in self.throughput],
            "measurements": self.measurements,
            "checks": [each.as_json() for each in self.checks],
            "rounds": [asdict(each) for each in self.rounds],
        }

    def write(self, path: Path) -> None:
        """Replace the file at `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n")

    def show(self, console: Console) -> None:
        """Rates with ratios, then every check."""
        if self.throughput:
            rounds = [each for each in self.rounds if isinstance(each, Round)]
            console.print(_rates(self.throughput, rounds))
        console.print(verdicts(self.checks))


def _rates(summaries: Sequence[Summary], rounds: Sequence[Round]) -> Table:
    table = Table(title="no-op jobs per second, and ratios round by round: median (least, most)")
    table.add_column("queue/prefetch")
    table.add_column("contender")
    for name in ("jobs/s", "longshore is", "µs/job worker", "µs/job broker", "rounds"):
        table.add_column(name, justify="right")
    for cell in dict.fromkeys(each.cell for each in summaries):
        within = [each for each in rounds if each.cell == cell]
        for each in summaries:
            if each.cell == cell:
                table.add_row(*_row(each, ratios(within, ours=LONGSHORE.name, peer=each.contender)))
        table.add_section()
    return table


def _row(each: Summary, times_as_fast: Sequence[float]) -> Iterator[str]:
    rate = each.jobs_per_second
    yield each.cell
    yield each.contender
    yield f"{rate.median:,.0f} ({rate.min:,.0f} to {rate.max:,.0f})"
    if times_as_fast:
        ratio = spread(times_as_fast)
        yield f"{ratio.median:.2f} x ({ratio.min:.2f}, {ratio.max:.2f})"
    else:
        yield "?"
    yield _one(each.worker_cpu_us)
    yield _one(each.broker_cpu_us)
    yield str(each.rounds)


def _one(found: Spread | None) -> str:
    return "?" if found is None else f"{found.median:.0f}"


def verdicts(checks: Sequence[Check]) -> Table:
    """Every check as a row; all benchmarks show theirs so."""
    table = Table(title="what is asked, and what was measured")
    table.add_column("number")
    table.add_column("target", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("ok")
    table.add_column("note")
    for check in checks:
        table.add_row(
            check.name,
            check.aim,
            "-" if check.measured is None else f"{check.measured:.3g}",
            "[green]yes[/]" if check.ok else "[red]no[/]",
            check.note,
        )
    return table
