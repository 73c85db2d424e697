"""`python -m benchmarks.worker.paired BASE`: the worker of commit BASE beside that of today.

Exits 0 when no cell has become slower than `LEAST` and nothing in `alone` is worse, 1 when
something is, 2 when nothing was measured.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
from rich.console import Console

from benchmarks.worker import alone, machine, product, throughput
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Check, Side
from benchmarks.worker.contenders import CELLS, LONGSHORE, PREFETCHES, SLOTS, Cell, Contender
from benchmarks.worker.drains import Round
from benchmarks.worker.errors import BenchmarkError
from benchmarks.worker.report import Report
from benchmarks.worker.throughput import Spoiled, ratios
from longshore.contract.names import AMQP_URL_ENV, WORKER_CONFIG_ENV

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/paired.json"
TREES = ROOT / "build" / "paired"
BEFORE = "before"

LEAST = 0.97
"""Of the rate before: what two runs of one commit differ by."""


@click.command()
@click.argument("base")
@click.option("--rounds", default=7, show_default=True, help="Rounds of each drain.")
@click.option("--jobs", default=30_000, show_default=True, help="Jobs in a drain.")
@click.option(
    "--alone",
    "times",
    default=6,  # even: whose turn comes first finds a machine that has to wake up
    show_default=True,
    help="Rounds without a backlog.",
)
@click.option("--series", default="4.3", show_default=True, help="RabbitMQ, of build/brokers.json.")
@click.option("--output", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
def main(*, base: str, rounds: int, jobs: int, times: int, series: str, output: Path) -> None:
    """Compare the worker with that of commit BASE, cell by cell."""
    console = Console()
    try:
        broker = Broker.from_record(series, root=ROOT)
        with tree_of(base) as tree, console.status("measuring") as status:
            taken = list(
                throughput.run(
                    [LONGSHORE, before(tree)],
                    CELLS,
                    broker=broker,
                    rounds=rounds,
                    jobs=jobs,
                    tell=status.update,
                )
            )
            idle = alone.measure(
                {LONGSHORE.name: ROOT, BEFORE: tree},
                rounds=times,
                series=series,
                root=ROOT,
                tell=status.update,
            )
            settings = {"base": machine.commit(tree), "rounds": rounds, "jobs": jobs}
    except (BenchmarkError, subprocess.CalledProcessError) as error:
        console.print(f"[red]nothing measured:[/] {error}", highlight=False)
        sys.exit(2)
    report = Report(
        commit=machine.commit(ROOT),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine.describe(broker=broker.version),
        settings={**settings, "slots": SLOTS, "prefetches": PREFETCHES},
        throughput=throughput.summaries(taken),
        measurements={"alone": idle},
        checks=[
            *checks(taken),
            throughput.completeness(taken),
            *alone.checks(idle, ours=LONGSHORE.name, before=BEFORE),
        ],
        rounds=taken,
    )
    report.write(output)
    report.show(console)
    sys.exit(0 if all(check.ok for check in report.checks) else 1)


def checks(rounds: Sequence[Round | Spoiled]) -> Iterator[Check]:
    """For each cell: the median over the rounds of how today's rate compares with that before."""
    good = [each for each in rounds if isinstance(each, Round)]
    for cell in dict.fromkeys(each.cell for each in good):
        found = ratios(
            [each for each in good if each.cell == cell], ours=LONGSHORE.name, peer=BEFORE
        )
        yield Check(
            name=f"{cell}: jobs/s over those before",
            side=Side.AT_LEAST,
            target=LEAST,
            unit="times",
            measured=median(found) if found else None,
            note=f"{min(found):.2f} to {max(found):.2f} in single rounds" if found else "",
        )


def before(tree: Path) -> Contender:
    """The worker of another checkout, as its own product would be configured."""
    path = ":".join(map(str, (tree / "worker_image", tree / "operator", tree)))

    def variables(url: str, cell: Cell) -> dict[str, str]:
        # Asked of that checkout: its configuration may lack what today's has.
        said = subprocess.run(
            [
                *("env", f"PYTHONPATH={path}", sys.executable, "-c"),
                "from benchmarks.worker import product; "
                f"print(product.config(slots={SLOTS}, prefetch={cell.prefetch}).to_json())",
            ],
            cwd=tree,
            check=True,
            capture_output=True,
            text=True,
        )
        return {AMQP_URL_ENV: url, WORKER_CONFIG_ENV: said.stdout.strip()}

    work = ("env", f"PYTHONPATH={path}", *product.COMMAND)
    return replace(LONGSHORE, name=BEFORE, work=work, variables=variables)


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A work tree of `commit`, for as long as the block lasts. Raises CalledProcessError."""
    git = ("git", "-C", str(ROOT))
    known = subprocess.run(
        [*git, "rev-parse", "--verify", f"{commit}^{{commit}}"],
        check=True,
        capture_output=True,
        text=True,
    )
    tree = TREES / known.stdout.strip()
    remove = [*git, "worktree", "remove", "--force", str(tree)]
    subprocess.run(remove, check=False, capture_output=True)
    subprocess.run(
        [*git, "worktree", "add", "--detach", str(tree), commit], check=True, capture_output=True
    )
    try:
        yield tree
    finally:
        subprocess.run(remove, check=True, capture_output=True)


if __name__ == "__main__":
    main()
