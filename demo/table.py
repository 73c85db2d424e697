"""The live table: what the TaskQueue's status says, twice a second."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from demo.verdict import DESIGNED_END


def live(status: dict[str, Any], *, workers: int, seconds: float) -> Table:
    """One row of counters from a TaskQueue's status; `workers` counts pods, ending ones too."""
    table = Table(title=f"TaskQueue demo/render after {seconds:.0f} s", title_justify="left")
    for column in ("ready", "running", "workers", "done", "dead"):
        table.add_column(column, justify="right", min_width=8)
    jobs = status.get("jobs", {})
    table.add_row(
        str(jobs.get("ready", "-")),
        str(jobs.get("running", "-")),
        str(workers),
        str(jobs.get("succeeded", 0)),
        str(jobs.get("dead", 0)),
    )
    return table


def ends(found: dict[str, Counter[str]]) -> Table:
    """How the jobs of each kind ended, and how they were meant to."""
    table = Table(title="What became of each kind of job", title_justify="left")
    for column in ("kind", "jobs", "ended as", "as designed"):
        table.add_column(column)
    for kind, counts in found.items():
        good = set(counts) == {DESIGNED_END[kind]}
        how = ", ".join(f"{end} {count}" for end, count in counts.items())
        table.add_row(kind, str(counts.total()), how, "[green]yes[/]" if good else "[red]no[/]")
    return table
