"""`python -m chaos.again RESULTS HISTORY...`: rounds that were played before, judged once more.

A checker that has learnt something judges recorded histories as it would new ones. What the rounds
themselves have told, such as which faults were made and how soon all was settled, stays.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.worker.machine import commit
from chaos import history
from chaos.checker import check
from chaos.history import History
from chaos.report import Round, checks
from dev import paths

_KEPT = ("seed", "series", "nodes", "seconds", "settled_after", "faults", "failed", "passwords")


def main() -> int:
    """Judge, and write the results again; 1 unless every check holds."""
    parser = argparse.ArgumentParser(prog="python -m chaos.again", description=__doc__)
    parser.add_argument("recorded", type=Path, help="JSON file with the results of the rounds")
    parser.add_argument("histories", type=Path, nargs="+", help="their folders, in the same order")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the results")
    chosen = parser.parse_args()
    recorded = json.loads(chosen.recorded.read_text())
    if len(recorded["rounds"]) != len(chosen.histories):
        parser.error(f"{len(recorded['rounds'])} rounds, but {len(chosen.histories)} histories")
    rounds = [
        judged(each, folder)
        for each, folder in zip(recorded["rounds"], chosen.histories, strict=True)
    ]
    results = {
        **recorded,
        "judged_at": commit(paths.REPO),
        "checks": checks(rounds),
        "rounds": [each.as_json() for each in rounds],
    }
    chosen.output.write_text(json.dumps(results, indent=2) + "\n")
    for each in results["checks"]:
        print(f"{each['name']}: {each['measured']}, target {each['target']}")
    return 0 if all(each["ok"] for each in results["checks"]) else 1


def judged(recorded: Mapping[str, Any], folder: Path) -> Round:
    """A round by its recorded figures and its history. Raises ValueError for that of another."""
    findings = check(History.of(history.read(folder)))
    before = recorded["findings"]
    if (findings.jobs, findings.runs) != (before["jobs"], before["runs"]):
        raise ValueError(
            f"{folder} has {findings.jobs} jobs and {findings.runs} runs; "
            f"the round had {before['jobs']} and {before['runs']}"
        )
    return Round(**{name: recorded[name] for name in _KEPT}, findings=findings)


if __name__ == "__main__":
    raise SystemExit(main())
