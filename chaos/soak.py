"""`python -m chaos.soak`: an hour of jobs of every kind without faults, while memory, descriptors,
threads and RabbitMQ's disk are sampled. All of it must be flat once it has warmed up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.worker.machine import commit, describe
from chaos import targets
from chaos.kinds import Queue
from chaos.producing import Producer
from chaos.stage import Stage, stage
from dev import paths
from dev.kube import wait_for

EVERY = 15.0
"""Seconds between two samples."""

WARM_UP = 0.25
"""Share of the time that does not count: caches fill, RabbitMQ writes its first segments."""

MOST_GROWTH = {"bytes": 0.05, "descriptors": 0.05, "threads": 0.0, "disk": 0.10}
"""By how much the last third may exceed the first one after the warm-up, in medians. Of descriptors
one in twenty: the operator's HTTP connections come and go, so it has 25 to 32 at any time."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one part of the system has at one moment."""

    at: float
    part: str
    bytes: int
    descriptors: int
    threads: int


def main() -> int:
    """Run, print the growth of each figure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="default: an hour")
    parser.add_argument("--rate", type=float, default=30.0, help="jobs a second")
    parser.add_argument("--rabbitmq", default="4.3", choices=["4.0", "4.3"])
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--again", type=Path, help="judge the samples of these results once more")
    chosen = parser.parse_args()
    if chosen.again:
        return _again(chosen.again, output=chosen.output)
    with stage(series=chosen.rabbitmq, nodes=1) as playing:
        path = playing.folder / "producer.jsonl"
        producer = Producer(stage=playing, seed=1, rate=chosen.rate, path=path)
        producer.start()
        try:
            parts = _watched(playing)
            samples, disk = _watch(parts, seconds=chosen.seconds)
        finally:
            producer.stop()
    checks = [*judge(samples, disk), whole(samples, parts)]
    _tell(checks)
    if chosen.output:
        results = {
            "commit": commit(paths.REPO),
            "machine": asdict(describe(broker=chosen.rabbitmq)),
            "checks": checks,
            "jobs": producer.confirmed,
            "seconds": chosen.seconds,
            "samples": [asdict(sample) for sample in samples],
            "disk": disk,
        }
        chosen.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0 if all(check["ok"] for check in checks) else 1


def _again(recorded: Path, *, output: Path | None) -> int:
    results = json.loads(recorded.read_text())
    samples = [Sample(**each) for each in results["samples"]]
    disk = [(at, size) for at, size in results["disk"]]
    checks = [*judge(samples, disk), whole(samples, {sample.part for sample in samples})]
    _tell(checks)
    if output:
        again = {**results, "judged_at": commit(paths.REPO), "checks": checks}
        output.write_text(json.dumps(again, indent=1) + "\n")
    return 0 if all(check["ok"] for check in checks) else 1


def _tell(checks: list[dict[str, Any]]) -> None:
    for check in checks:
        print(f"{check['name']}: {check['measured']:.1%}, at most {check['target']:.0%}")


def judge(samples: list[Sample], disk: list[tuple[float, int]]) -> Iterator[dict[str, Any]]:
    """A check for each figure of each part: how much its last third exceeds its first."""
    for part in dict.fromkeys(sample.part for sample in samples):
        of_part = [sample for sample in samples if sample.part == part]
        for figure in ("bytes", "descriptors", "threads"):
            values = [(sample.at, getattr(sample, figure)) for sample in of_part]
            yield _check(f"{part}: {figure}", values, most=MOST_GROWTH[figure])
    yield _check("RabbitMQ: disk", disk, most=MOST_GROWTH["disk"])


def whole(samples: list[Sample], parts: Collection[str]) -> dict[str, Any]:
    """A check that no part of the system has ended: what is left of its figures would be flat."""
    latest = max((sample.at for sample in samples), default=0.0)
    there = {sample.part for sample in samples if sample.at == latest}
    ended = len(set(parts) - there) / max(1, len(parts))
    return {"name": "parts that ended", "target": 0.0, "measured": ended, "ok": ended == 0.0}


def growth(values: list[tuple[float, int]]) -> float:
    """The median of the last third over that of the first, after the warm-up, less one."""
    settled = values[int(len(values) * WARM_UP) :]
    third = max(1, len(settled) // 3)
    first = statistics.median(value for _, value in settled[:third])
    last = statistics.median(value for _, value in settled[-third:])
    return last / first - 1 if first else 0.0


def _check(name: str, values: list[tuple[float, int]], *, most: float) -> dict[str, Any]:
    grown = growth(values)
    return {"name": name, "target": most, "measured": grown, "ok": grown <= most}


def _watch(
    watched: Mapping[str, int], *, seconds: float
) -> tuple[list[Sample], list[tuple[float, int]]]:
    samples: list[Sample] = []
    disk: list[tuple[float, int]] = []
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for part, pid in watched.items():
            with suppress(OSError):
                samples.append(_sample(part, pid, at=now))
        disk.append((now, _disk()))
        time.sleep(EVERY)
    return samples, disk


def _watched(stage: Stage) -> dict[str, int]:
    """Process ids by part. Workers come and go; those of the start that are always needed stay."""
    queues = (Queue.QUICK, Queue.ADOPTED, Queue.SKEWED)
    watched: dict[str, int] = {}

    def look() -> bool:
        for worker in targets.workers(stage, *queues):
            if worker.zygote and f"parent of {worker.queue}" not in watched:
                watched[f"parent of {worker.queue}"] = worker.parent.pid
                watched[f"zygote of {worker.queue}"] = worker.zygote.pid
        if operator := targets.operator(stage):
            watched["operator"] = operator.pid
        return len(watched) == 2 * len(queues) + 1

    wait_for("a worker of each queue, and the operator", look, seconds=120)
    return watched


def _sample(part: str, pid: int, *, at: float) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return Sample(
        at=at,
        part=part,
        bytes=int(fields["VmRSS"].split()[0]) * 1024,
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(fields["Threads"]),
    )


def _disk() -> int:
    """Bytes below RabbitMQ's data folder."""
    data = f"/proc/{targets.node(0)[0].pid}/root/var/lib/rabbitmq"
    said = subprocess.run(["du", "-sb", data], capture_output=True, text=True, check=False).stdout
    return int(said.split()[0])


if __name__ == "__main__":
    raise SystemExit(main())
