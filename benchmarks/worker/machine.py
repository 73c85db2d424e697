"""Where and of what the results were taken."""

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a figure depends on beside the code."""

    cpu: str
    cores: int
    kernel: str
    python: str
    broker: str
    load: float
    """Of the last minute, when the benchmark began."""


def describe(*, broker: str) -> Machine:
    """This machine, with RabbitMQ of version `broker`."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        kernel=platform.release(),
        python=platform.python_version(),
        broker=f"RabbitMQ {broker}",
        load=os.getloadavg()[0],
    )


def commit(root: Path) -> str | None:
    """The commit that is checked out, with `-dirty` behind it where files differ from it. Results
    do not count: a benchmark of several rounds writes its own after each."""
    changes = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    found, changed = _git(root, "rev-parse", "HEAD"), _git(root, *changes)
    return f"{found}-dirty" if found and changed else found


def _git(root: Path, *words: str) -> str | None:
    try:
        said = subprocess.run(
            ("git", "-C", root, *words), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
