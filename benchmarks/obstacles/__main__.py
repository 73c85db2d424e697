"""`python -m benchmarks.obstacles`: how soon a TaskQueue says what keeps its workers from running.

Each cause of `tests/e2e/obstacles.py` on a real cluster that has nothing else to do. Writes
`results/obstacles.json`. Exits 0 when every check is met, 1 when one is not.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks.cluster.report import Report
from benchmarks.worker import machine
from benchmarks.worker.checks import Check, Side
from dev import release
from dev.errors import NotReady
from dev.kube import Kube, wait_for
from tests.e2e.obstacles import CAUSES, Stage, standing
from tests.e2e.telling import limit, told, took

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/obstacles.json"
PATIENCE = 60.0


@click.command()
@click.option("--rounds", default=1, show_default=True)
@click.option("--at-once", default=3, show_default=True, help="Causes that begin together.")
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(*, rounds: int, at_once: int, output: Path) -> None:
    """Time what the table of causes asks for."""
    kube = Kube.from_record()
    release.install(kube)
    taken: dict[str, list[float | None]] = {name: [] for name in CAUSES}
    for _ in range(rounds):
        with standing(kube, at_once=at_once) as stage:
            for name, seconds in taken.items():
                seconds.append(_measure(stage, name))
    report = Report(
        commit=machine.commit(ROOT),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine.describe(broker="4.3"),
        settings={"rounds": rounds, "at_once": at_once},
        measurements=dict(taken),
        checks=[_check(name, seconds) for name, seconds in taken.items()],
    )
    report.write(output)
    report.show(Console())
    sys.exit(0 if all(check.ok for check in report.checks) else 1)


def _measure(stage: Stage, name: str) -> float | None:
    try:
        return took(stage, name, wait_for(name, lambda: told(stage, name), seconds=PATIENCE))
    except NotReady:
        return None


def _check(name: str, seconds: list[float | None]) -> Check:
    measured = [each for each in seconds if each is not None]
    return Check(
        name=f"{name}: said after",
        side=Side.AT_MOST,
        target=limit(name),
        unit="s",
        measured=max(measured) if len(measured) == len(seconds) else None,
        note="the longest of all rounds",
    )


if __name__ == "__main__":
    main()
