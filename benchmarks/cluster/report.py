"""The numbers that are asked of scaling on a real cluster, as JSON and as a table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.worker.checks import Bound, Check, Side
from benchmarks.worker.machine import Machine
from benchmarks.worker.report import verdicts

SCALE_INS = (
    Bound("scale-ins under load", Side.AT_LEAST, 500, "", lambda found: found.scale_ins),
    Bound("jobs killed", Side.AT_MOST, 0, "", lambda found: found.judgement.killed),
    Bound("jobs repeated", Side.AT_MOST, 0, "", lambda found: found.judgement.repeated),
    Bound("jobs lost", Side.AT_MOST, 0, "", lambda found: found.judgement.lost),
    Bound("busy pods chosen", Side.AT_MOST, 0, "", lambda found: found.judgement.busy_pods_chosen),
)
REACTION = (
    Bound("publish to scale patched, p99", Side.AT_MOST, 1.5, "s", lambda found: found["p99"]),
    Bound("patches from 0 to 20 workers", Side.AT_MOST, 1, "", lambda found: len(found["steps"])),
)
SPIKE = (
    Bound("spike: first job", Side.AT_MOST, 3, "s", lambda found: found["first_job"]),
    Bound("spike: drained", Side.AT_MOST, 14, "s", lambda found: found["drained"]),
    Bound("spike: p95 wait", Side.AT_MOST, 10, "s", lambda found: found["p95_wait"]),
    Bound("spike: pods", Side.AT_MOST, 400, "pod·s", lambda found: found["pod_seconds"]),
)
OUTAGE = (
    Bound(
        "broker away: changes of replicas",
        Side.AT_MOST,
        0,
        "",
        lambda found: len(set(found.replicas)) - 1,
    ),
    Bound("back: scaler active", Side.AT_MOST, 5, "s", lambda found: found.scaling_after),
    Bound("back: first job begins", Side.AT_MOST, 5, "s", lambda found: found.work_after),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of one run."""

    commit: str | None
    taken_at: str
    machine: Machine
    settings: dict[str, Any]
    measurements: dict[str, Any]
    checks: Sequence[Check]

    def write(self, path: Path) -> None:
        """Replace the file at `path`."""
        body = {
            "commit": self.commit,
            "taken_at": self.taken_at,
            "machine": asdict(self.machine),
            "settings": self.settings,
            "measurements": self.measurements,
            "checks": [check.as_json() for check in self.checks],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(body, indent=2) + "\n")

    def show(self, console: Console) -> None:
        """Every check."""
        console.print(verdicts(self.checks))
