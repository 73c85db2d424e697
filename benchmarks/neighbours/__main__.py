"""`python -m benchmarks.neighbours`: measure, print, and write `results/neighbours.json`.

Exits 0 when every check is met, 1 when one is not, 2 when nothing could be measured.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.neighbours.measure import KINDS, bounds, measure
from benchmarks.worker import machine
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Check
from benchmarks.worker.errors import BenchmarkError
from benchmarks.worker.report import Report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/neighbours.json"


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)))
@click.option("--series", default="4.3", show_default=True, help="RabbitMQ, of build/brokers.json.")
@click.option("--scale", default=1.0, show_default=True, help="Less for a quick look.")
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(*, kinds: Sequence[str], series: str, scale: float, output: Path) -> None:
    """Time kills and probes of a worker beside nine hostile jobs of each kind."""
    # So that whatever runs is ended and its vhost deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if sys.stdout.isatty() else 140)
    found: dict[str, Any] = {}
    checks: list[Check] = []
    try:
        broker = Broker.from_record(series, root=ROOT)
        described = machine.describe(broker=broker.version)
    except BenchmarkError as error:
        console.print(f"[red]nothing measured:[/] {error}", highlight=False)
        sys.exit(2)
    for name in kinds or KINDS:
        with console.status(name):
            result, fault = None, ""
            try:
                result = measure(name, broker, scale)
            except (BenchmarkError, TimeoutError) as error:
                fault = f"not measured: {error}"
        found[name] = asdict(result) if result else {"fault": fault}
        checks += [bound.check(result, fault=fault) for bound in bounds(name)]
    report = Report(
        commit=machine.commit(ROOT),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=described,
        settings={"scale": scale},
        throughput=[],
        measurements=found,
        checks=checks,
        rounds=[],
    )
    report.write(output)
    report.show(console)
    sys.exit(0 if all(check.ok for check in checks) else 1)


if __name__ == "__main__":
    main()
