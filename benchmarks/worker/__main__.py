"""`python -m benchmarks.worker`: measure, print, and write `benchmarks/results/worker.json`.

Exits 0 when every check is met, 1 when one is not, 2 when nothing could be measured.
"""

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks.worker import contenders, machine, suite, throughput
from benchmarks.worker.broker import Broker
from benchmarks.worker.contenders import CELLS
from benchmarks.worker.errors import BenchmarkError
from benchmarks.worker.peers import environment as peers
from benchmarks.worker.report import Report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/worker.json"

_LOG_WIDTH = 140

_CONTENDERS = {each.name: each for each in contenders.ALL}
_CELLS = {str(each): each for each in CELLS}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Rounds of each drain; 0 for none.")
@click.option("--jobs", default=30_000, show_default=True, help="Jobs in a drain of ours.")
@click.option("--contender", "names", multiple=True, type=click.Choice(list(_CONTENDERS)))
@click.option("--cell", "cells", multiple=True, type=click.Choice(list(_CELLS)))
@click.option("--only", "parts", multiple=True, type=click.Choice(list(suite.PARTS)))
@click.option("--series", default="4.3", show_default=True, help="RabbitMQ, of build/brokers.json.")
@click.option("--scale", default=1.0, show_default=True, help="Less for a quick look.")
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(
    *,
    rounds: int,
    jobs: int,
    names: Sequence[str],
    cells: Sequence[str],
    parts: Sequence[str],
    series: str,
    scale: float,
    output: Path,
) -> None:
    """Compare the worker with its peers and check every number that is asked of it."""
    # So that whatever runs is ended and its vhost deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)
    try:
        peers.install()
        broker = Broker.from_record(series, root=ROOT)
        described = machine.describe(broker=broker.version)
        with console.status("measuring") as status:
            chosen = [_CONTENDERS[name] for name in names or _CONTENDERS]
            runs, missing = contenders.split_ready(chosen)
            taken = list(
                throughput.run(
                    runs,
                    [_CELLS[name] for name in cells or _CELLS],
                    broker=broker,
                    rounds=rounds,
                    jobs=jobs,
                    tell=status.update,
                )
            )
            measurements, checks = suite.measure(
                parts or list(suite.PARTS), broker=broker, scale=scale, tell=status.update
            )
    except BenchmarkError as error:
        console.print(f"[red]nothing measured:[/] {error}", highlight=False)
        sys.exit(2)
    report = Report(
        commit=machine.commit(ROOT),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=described,
        settings={
            "rounds": rounds,
            "jobs": jobs,
            "slots": contenders.SLOTS,
            "scale": scale,
            "peers": peers.versions(),
        },
        throughput=throughput.summaries(taken),
        measurements=measurements,
        checks=[
            *throughput.checks(taken, missing=missing),
            *([throughput.completeness(taken)] if taken else []),
            *checks,
        ],
        rounds=taken,
    )
    report.write(output)
    report.show(console)
    sys.exit(0 if all(check.ok for check in report.checks) else 1)


if __name__ == "__main__":
    main()
