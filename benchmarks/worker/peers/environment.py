"""The peers' own venv, and the environment their processes get."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.worker.peers import variables

ROOT = Path(__file__).parents[3]
PINS = ROOT / "benchmarks/requirements-peers.txt"
VENV = ROOT / "build/peers-venv"
_STAMP = VENV / ".pins"

SHOWN = ("aio-pika", "celery", "dramatiq", "taskiq", "taskiq-aio-pika")


def program(name: str) -> str:
    """A program of the peers' venv."""
    return str(VENV / "bin" / name)


def install() -> None:
    """Make the venv with exactly the pinned packages, unless it stands."""
    digest = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == digest:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    pip = (program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", PINS], check=True)
    _STAMP.write_text(digest)


def versions() -> dict[str, str]:
    """What is pinned of the peers themselves."""
    lines = (line.split() for line in PINS.read_text().splitlines() if "==" in line)
    pins = dict(line[0].split("==") for line in lines)
    return {name: pins[name] for name in SHOWN}


def environment(
    *, url: str, queue: str, queue_type: str, prefetch: int, payload: str
) -> dict[str, str]:
    """What `peers.settings` reads, and Dramatiq itself."""
    return {
        variables.URL: url,
        variables.QUEUE: queue,
        variables.QUEUE_TYPE: queue_type,
        variables.PREFETCH: str(prefetch),
        variables.PAYLOAD: payload,
        "dramatiq_queue_prefetch": str(prefetch),
    }
