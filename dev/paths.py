"""Where things are kept: the repository, what is built once, what runs now."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SOURCES = REPO / "dev"
BUILD = REPO / "build"

CLUSTER_RECORD = BUILD / "cluster.json"
IMAGES_RECORD = BUILD / "images.json"
BROKERS_RECORD = BUILD / "brokers.json"

# Of one boot of the machine. Short, because a socket's path has at most 107 bytes.
RUN = Path("/run/longshore-dev")


def cache() -> Path:
    """What outlives a checkout: binaries, images, root filesystems, the running cluster's state."""
    return Path(os.environ.get("LONGSHORE_CACHE") or Path.home() / ".cache" / "longshore")


def state() -> Path:
    """Pids, logs and data of what runs now."""
    return cache() / "run"
