"""`python -m benchmarks.scaling`: simulate, print, write `benchmarks/results/scaling.json`.

Exits 0 when every check is met, 1 when one is not.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.scaling import compare, cost, plots, rush, verdicts
from benchmarks.worker import machine
from benchmarks.worker.checks import Check
from benchmarks.worker.report import verdicts as table_of

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/scaling.json"

TUNING = (1, 2, 3, 4, 5)
"""Seeds that the constants in `core/scaling` were chosen with."""

HELD_OUT = tuple(range(201, 221))
"""Seeds that nothing was chosen with. Of twenty: a sparse trace has some eighteen jobs, so its p95
is its longest wait, and with five seeds it was luck."""

BOOTS = (3.0, 10.0, 40.0)

_LOG_WIDTH = 140


@click.command()
@click.option(
    "--seeds",
    default=len(HELD_OUT),
    show_default=True,
    help=f"Of each kind; there are {len(TUNING)} tuning and {len(HELD_OUT)} held-out ones.",
)
@click.option("--boot", "boots", multiple=True, type=float, default=BOOTS, show_default=True)
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(*, seeds: int, boots: Sequence[float], output: Path) -> None:
    """Compare the operator's `decide` with KEDA and HPA, and check what is asked of it."""
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)
    described = machine.describe(broker="none, simulated")
    with console.status("measuring what decide costs") as status:
        price = cost.measure()
        rushes = {
            "times guessed": rush.measure(known=False),
            "times known": rush.measure(known=True),
        }
        rounds = compare.run(
            compare.cases(boots=boots, seeds=(*TUNING[:seeds], *HELD_OUT[:seeds])),
            tell=status.update,
        )
    means = compare.rows(rounds, tuning=TUNING)
    duels = compare.duels(means)
    checks = verdicts.checks(rounds, duels, rushes=rushes, cost=price)
    output.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "commit": machine.commit(ROOT),
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": asdict(described),
        "settings": {
            "tuning": TUNING[:seeds],
            "held_out": HELD_OUT[:seeds],
            "boots": boots,
            "most": compare.MOST,
        },
        "checks": [each.as_json() for each in checks],
        "rush": {name: asdict(each) for name, each in rushes.items()},
        "cost": asdict(price),
        "duels": [each.as_json() for each in duels],
        "means": [each.as_json() for each in means],
        "rounds": [each.as_json() for each in rounds],
    }
    output.write_text(json.dumps(found, indent=1) + "\n")
    plots.draw(means, output.parent)
    _show(console, means=means, duels=duels, checks=checks)
    sys.exit(0 if all(each.ok for each in checks) else 1)


def _show(
    console: Console,
    *,
    means: Sequence[compare.Row],
    duels: Sequence[compare.Duel],
    checks: Sequence[Check],
) -> None:
    for seeds, boot in dict.fromkeys((each.seeds, each.boot) for each in means):
        table = Table(title=f"{seeds} seeds, {boot:g} s to start a worker")
        for name in ("trace", "contender"):
            table.add_column(name)
        for name in (
            ">30 s %",
            "p50 s",
            "p95 s",
            "p99 s",
            "under",
            "over",
            "pod-h",
            "killed",
            "wasted %",
            "starts/h",
        ):
            table.add_column(name, justify="right")
        for each in means:
            if (each.seeds, each.boot) == (seeds, boot):
                m = each.measures
                table.add_row(
                    each.trace,
                    each.contender,
                    f"{m.misses:.2f}",
                    f"{m.p50:.1f}",
                    f"{m.p95:.1f}",
                    f"{m.p99:.1f}",
                    f"{m.under:.3f}",
                    f"{m.over:.2f}",
                    f"{m.pod_hours:.2f}",
                    f"{m.killed:.1f}",
                    f"{m.wasted:.2f}",
                    f"{m.starts:.1f}",
                )
        console.print(table)
    table = Table(title="Longshore beside the best KEDA of each trace")
    for name in (
        "seeds",
        "boot",
        "trace",
        "best KEDA",
        ">30 s %: ours, best",
        "pod-h x",
        "starts x",
        "p95 x default",
        "won",
    ):
        table.add_column(name)
    for duel in duels:
        table.add_row(
            duel.seeds,
            f"{duel.boot:g}",
            duel.trace,
            duel.best,
            f"{duel.ours.misses:.2f}, {duel.theirs.misses:.2f}",
            f"{duel.pod_hours:.2f}",
            f"{duel.starts:.2f}",
            f"{duel.p95_of_default:.2f}",
            "yes" if duel.is_won else "no",
        )
    console.print(table)
    console.print(table_of(checks))


if __name__ == "__main__":
    main()
