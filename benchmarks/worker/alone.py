"""What is measured of the worker alone, of two checkouts by turns, and compared."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.worker.checks import Check, Side

PARTS = ("latency", "kills", "footprint")
"""Of `suite`. Each checkout measures its own worker by its own suite."""

SCALE = 0.3
"""Share of the usual repetitions in one round: 300 jobs, 36 kills, 12 s of rest."""

MOST = 1.1
"""Of the time before, in the median of the rounds' ratios: medians of single rounds of one commit
differ by a tenth on a machine that others use too."""

MOST_MEMORY = 32.0
"""MiB of the parent."""

_MEASURE = """
import json, sys
from pathlib import Path
from benchmarks.worker import suite
from benchmarks.worker.broker import Broker
parts, series, root, scale = json.loads(sys.argv[1])
broker = Broker.from_record(series, root=Path(root))
found, _ = suite.measure(parts, broker=broker, scale=scale, tell=lambda _: None)
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """One value of a measurement in milliseconds, by its way through the JSON."""

    name: str
    way: tuple[str, ...]


TIMES = (
    Times(name="enqueue → handler start, idle, p50", way=("latency", "p50_ms")),
    Times(name="hard kill lateness, p50", way=("kills", "hard", "p50_ms")),
    Times(name="death of a child → next job, p50", way=("kills", "replacement", "p50_ms")),
)


def measure(
    trees: Mapping[str, Path],
    *,
    rounds: int,
    series: str,
    root: Path,
    tell: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Rounds of all trees by turns: for each, by name, what its own suite has found.

    `root` has the record of the brokers. Raises CalledProcessError.
    """
    taken = []
    for number in range(rounds):
        order = list(trees)[:: 1 if number % 2 else -1]
        found = {}
        for name in order:
            tell(f"alone, round {number + 1} of {rounds}: {name}")
            found[name] = _measured(trees[name], series=series, root=root)
        taken.append(found)
    return taken


def checks(rounds: Sequence[Mapping[str, Any]], *, ours: str, before: str) -> Iterator[Check]:
    """Each time against that before, and the memory."""
    for each in TIMES:
        ratios = [
            _at(found[ours], each.way) / _at(found[before], each.way)
            for found in rounds
            if _at(found[ours], each.way) and _at(found[before], each.way)
        ]
        yield Check(
            name=f"{each.name}: time over that before",
            side=Side.AT_MOST,
            target=MOST,
            unit="times",
            measured=median(ratios) if ratios else None,
            note=f"{min(ratios):.2f} to {max(ratios):.2f} in single rounds" if ratios else "",
        )
    memory = [_at(found[ours], ("footprint", "parent_rss_mib")) for found in rounds]
    yield Check(
        name="resident memory of the parent",
        side=Side.AT_MOST,
        target=MOST_MEMORY,
        unit="MiB",
        measured=max(memory) if memory and all(memory) else None,
    )


def _measured(tree: Path, *, series: str, root: Path) -> Any:
    path = ":".join(map(str, (tree / "worker_image", tree / "operator", tree)))
    settings = json.dumps([PARTS, series, str(root), SCALE])
    said = subprocess.run(
        ["env", f"PYTHONPATH={path}", sys.executable, "-c", _MEASURE, settings],
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(said.stdout)


def _at(found: Any, way: Sequence[str]) -> float:
    """0 where it was not measured."""
    for step in way:
        found = found.get(step, {})
    return found or 0.0
