"""Debian packages: installed where we may, named in one line where we may not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from dev import commands
from dev.errors import PrerequisiteMissing

# A program or file of the package, which tells that it is there → the package.
IMAGES = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "runc": "runc",
    "unshare": "util-linux",
}
CLUSTER = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "openssl": "openssl",
}
LOCK_TIMEOUT = 120
"""Seconds to wait for another user of dpkg."""


def require(needed: Mapping[str, str]) -> None:
    """Install what is missing of `needed`; raises PrerequisiteMissing with the command to do it."""
    missing = sorted({package for file, package in needed.items() if not _present(file)})
    if not missing:
        return
    by_hand = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0 or not commands.found("apt-get"):
        raise PrerequisiteMissing(f"missing: {', '.join(missing)}; as root: {by_hand}")
    # Old lists name packages that are there no more.
    commands.run_long("apt-get update", ["apt-get", "update", "-q"])
    commands.run_long(
        f"installing {', '.join(missing)}",
        [
            *("apt-get", "install", "-qy", "--no-install-recommends"),
            *("-o", f"DPkg::Lock::Timeout={LOCK_TIMEOUT}"),
            *missing,
        ],
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )


def require_root(purpose: str) -> None:
    if os.geteuid() != 0:
        raise PrerequisiteMissing(f"{purpose} needs root: run it with sudo")


def _present(file: str) -> bool:
    return Path(file).exists() if file.startswith("/") else commands.found(file)
