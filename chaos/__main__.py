"""`python -m chaos`: rounds of chaos, by seed; exits with 1 unless every history is clean."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.worker.machine import commit, describe
from chaos import faults
from chaos.playing import play
from chaos.report import Round, checks, longest
from dev import paths

RATE = 15.0
"""Jobs a second."""


def main() -> int:
    """Play, print what was found, and write the results where a file is named."""
    # So that whatever runs is ended and taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = _arguments()
    tricks = faults.SHORT if chosen.short else faults.ALL
    rounds: list[Round] = []
    for series in chosen.rabbitmq:
        for seed in chosen.seed:
            nodes = chosen.nodes or (3 if seed % 2 else 1)
            round_ = play(
                seed=seed,
                series=series,
                nodes=nodes,
                seconds=chosen.seconds,
                rate=chosen.rate,
                tricks=tricks,
            )
            rounds.append(round_)
            _tell(round_)
            if chosen.output:
                _write(chosen.output, rounds)
    return 0 if all(each.is_clean for each in rounds) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="default: 1")
    parser.add_argument("--seconds", type=float, default=1200, help="of faults; default: 20 min")
    parser.add_argument("--rate", type=float, default=RATE, help="jobs a second")
    parser.add_argument("--rabbitmq", nargs="+", default=["4.3"], choices=["4.0", "4.3"])
    parser.add_argument("--nodes", type=int, choices=[1, 3], help="default: by the seed, odd is 3")
    parser.add_argument("--short", action="store_true", help="only faults that heal quickly")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    return parser.parse_args()


def _tell(round_: Round) -> None:
    found = round_.findings
    print(
        f"{found.jobs} jobs, {found.runs} runs, {sum(round_.faults.values())} faults, "
        f"{found.repeats} repeats that a fault explains; settled in {round_.settled_after:g} s; "
        f"longest pause {longest(found.pauses):.1f} s"
    )
    wrong = [*found.lost, *found.unexplained, *found.illegal, *found.late_kills]
    wrong += [*round_.failed, *(f"a password in the {place}" for place in round_.passwords)]
    for said in wrong[:50]:
        print(f"  {said}")
    if len(wrong) > 50:
        print(f"  … and {len(wrong) - 50} more")


def _write(output: Path, rounds: list[Round]) -> None:
    results = {
        "commit": commit(paths.REPO),
        "machine": asdict(describe(broker=", ".join(sorted({each.series for each in rounds})))),
        "checks": checks(rounds),
        "rounds": [each.as_json() for each in rounds],
    }
    output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
