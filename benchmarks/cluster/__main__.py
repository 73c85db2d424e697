"""Run the measurements one after another; exit 1 when a number is not reached."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import mean, quantiles
from typing import Any

from rich.console import Console

from benchmarks.cluster import outage, reaction, report, scale_ins, spike, validation
from benchmarks.worker.checks import Bound, Check
from benchmarks.worker.machine import commit, describe
from dev import paths, release
from dev.errors import DevError
from dev.kube import Kube

RESULTS = paths.REPO / "benchmarks" / "results" / "cluster.json"
AT_ONCE = 20


@dataclass
class Run:
    """Measurements and checks so far."""

    kube: Kube
    settings: argparse.Namespace
    console: Console
    chance: Random
    measurements: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    def scale_ins(self) -> None:
        found = scale_ins.measure(
            self.kube,
            wanted=self.settings.scale_ins,
            seconds=self.settings.seconds,
            chance=self.chance,
            tell=self.tell,
        )
        self._keep("scale_ins", found.as_json(), report.SCALE_INS, found)

    def reaction(self) -> None:
        seconds, steps = reaction.measure(
            self.kube,
            samples=self.settings.samples,
            at_once=AT_ONCE,
            chance=self.chance,
            tell=self.tell,
        )
        cuts = quantiles(seconds, n=100, method="inclusive")
        found = {
            "samples": len(seconds),
            "p50": round(cuts[49], 3),
            "p99": round(cuts[98], 3),
            "worst": round(max(seconds), 3),
            "steps": steps,
        }
        self._keep("reaction", found, report.REACTION, found)

    def spike(self) -> None:
        spikes = spike.measure(
            self.kube, rounds=self.settings.spikes, chance=self.chance, tell=self.tell
        )
        rounds = [each.as_json() for each in spikes]
        found = {name: round(mean(each[name] for each in rounds), 2) for name in rounds[0]}
        self._keep("spike", {"means": found, "rounds": rounds}, report.SPIKE, found)

    def validation(self) -> None:
        found = validation.measure(self.kube, chance=self.chance, tell=self.tell)
        self._keep("validation", found.as_json(), (), found)

    def outage(self) -> None:
        found = outage.measure(self.kube, seconds=self.settings.outage, tell=self.tell)
        self._keep("outage", found.as_json(), report.OUTAGE, found)

    def tell(self, words: str) -> None:
        self.console.print(words, highlight=False)

    def _keep(self, name: str, shown: Any, bounds: Sequence[Bound], found: object) -> None:
        self.measurements[name] = shown
        self.checks += [bound.check(found) for bound in bounds]
        self.tell(f"{name}: {shown}")


MEASUREMENTS: dict[str, Callable[[Run], None]] = {
    "reaction": Run.reaction,
    "spike": Run.spike,
    "validation": Run.validation,
    "outage": Run.outage,
    "scale-ins": Run.scale_ins,
}


def main() -> int:
    settings = _arguments()
    console = Console()
    kube = Kube.from_record()
    release.install(kube)
    run = Run(kube=kube, settings=settings, console=console, chance=Random(settings.seed))
    version = kube.get("broker", "default").get("status", {}).get("version", "?")
    machine = describe(broker=version)
    for name in settings.only or MEASUREMENTS:
        try:
            MEASUREMENTS[name](run)
        except DevError as error:
            console.print(f"[red]{name}:[/] {error}", highlight=False)
            run.checks += [
                bound.check(None, fault=str(error))
                for bound in getattr(report, name.replace("-", "_").upper(), ())
            ]
    found = report.Report(
        commit=commit(paths.REPO),
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        settings={
            name: value for name, value in vars(settings).items() if name not in ("output", "only")
        },
        measurements=run.measurements,
        checks=run.checks,
    )
    found.write(settings.output)
    found.show(console)
    return 0 if all(check.ok for check in run.checks) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--scale-ins", type=int, default=500, help="workers to take away")
    parser.add_argument("--seconds", type=float, default=5400, help="longest time for those")
    parser.add_argument("--samples", type=int, default=100, help="reactions from zero")
    parser.add_argument("--spikes", type=int, default=5)
    parser.add_argument("--outage", type=float, default=60, help="seconds without broker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="*", choices=[*MEASUREMENTS])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
