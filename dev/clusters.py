"""Which Kubernetes is used, and the record that tells tests, demo and people how to reach it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from dev import binaries, commands, docker, paths
from dev.cache import read_record, write_record
from dev.embedded.cluster import Embedded
from dev.errors import DevError, PrerequisiteMissing

CHOICE = "LONGSHORE_CLUSTER"
KIND_NAME = "longshore-dev"
LOOKS = 10


class Cluster(Protocol):
    """What every kind of cluster can do."""

    kind: str

    @property
    def kubeconfig(self) -> Path: ...

    @property
    def kubectl(self) -> Path: ...

    def up(self) -> None: ...

    def down(self) -> None: ...

    def healthy(self) -> bool: ...

    def holds(self, reference: str) -> bool:
        """Whether its nodes have this image already."""

    def load(self, archive: Path) -> None:
        """Give its nodes the image in this archive."""


def up() -> dict[str, Any]:
    """A running cluster of the chosen kind; returns build/cluster.json."""
    cluster = chosen()
    cluster.up()
    record = {
        "kind": cluster.kind,
        "kubeconfig": str(cluster.kubeconfig),
        "kubectl": str(cluster.kubectl),
        "helm": str(_helm()),
    }
    if read_record(paths.CLUSTER_RECORD) != record:
        write_record(paths.CLUSTER_RECORD, record)
    return record


def down() -> None:
    """Take down what was brought up: the recorded kind, or the chosen one."""
    recorded = read_record(paths.CLUSTER_RECORD).get("kind")
    cluster = KINDS[recorded]() if recorded in KINDS else chosen()
    cluster.down()
    paths.CLUSTER_RECORD.unlink(missing_ok=True)


def status() -> dict[str, Any]:
    """The record of the cluster, and whether it is healthy."""
    record = read_record(paths.CLUSTER_RECORD)
    healthy = record.get("kind") in KINDS and KINDS[record["kind"]]().healthy()
    return {**record, "healthy": healthy}


def current() -> Cluster:
    """The cluster that is up; raises DevError when there is none."""
    recorded = read_record(paths.CLUSTER_RECORD).get("kind")
    if recorded in KINDS:
        # One that is busy may miss a look's short deadlines.
        for _ in range(LOOKS):
            if (cluster := KINDS[recorded]()).healthy():
                return cluster
            time.sleep(1)
    raise DevError("no cluster is up: run python3 -m dev cluster up")


def chosen(environment: Mapping[str, str] = os.environ) -> Cluster:
    return KINDS[choose(environment, reachable=_reachable, has_kind=_has_kind)]()


def choose(
    environment: Mapping[str, str],
    *,
    reachable: Callable[[], bool],
    has_kind: Callable[[], bool],
) -> str:
    """The kind named by LONGSHORE_CLUSTER; `auto`, the default, takes the first that can be had."""
    wanted = environment.get(CHOICE) or "auto"
    if wanted in KINDS:
        return wanted
    if wanted != "auto":
        raise DevError(f"{CHOICE}={wanted!r}: it is one of auto, {', '.join(KINDS)}")
    if reachable():
        return "kubeconfig"
    return "kind" if has_kind() else "embedded"


class Kubeconfig:
    """A cluster that someone else runs; its nodes pull images from where they were pushed."""

    kind = "kubeconfig"

    def up(self) -> None:
        if not self.healthy():
            raise DevError(f"the cluster of {self.kubeconfig} does not answer")

    def down(self) -> None:
        """Not ours to stop."""

    def healthy(self) -> bool:
        return _reachable()

    def holds(self, reference: str) -> bool:
        # Unknown: a single node that shares the engine of this machine (Docker Desktop) has it.
        return docker.holds(reference)

    def load(self, archive: Path) -> None:
        commands.run_long(f"loading {archive.stem}", ["docker", "load", "--input", archive])

    @property
    def kubeconfig(self) -> Path:
        return _default_kubeconfig()

    @property
    def kubectl(self) -> Path:
        return _kubectl_on_path()


class Kind:
    """Kubernetes in docker."""

    kind = "kind"

    def up(self) -> None:
        if self.healthy():
            return
        self.down()
        commands.run_long(
            "kind create cluster",
            [
                *("kind", "create", "cluster", "--name", KIND_NAME),
                *("--kubeconfig", self.kubeconfig, "--wait", "90s"),
            ],
        )

    def down(self) -> None:
        commands.output(["kind", "delete", "cluster", "--name", KIND_NAME])

    def healthy(self) -> bool:
        return self.kubeconfig.exists() and _answers(self.kubeconfig)

    def holds(self, reference: str) -> bool:
        node = f"{KIND_NAME}-control-plane"
        return commands.succeeds(["docker", "exec", node, "crictl", "inspecti", reference])

    def load(self, archive: Path) -> None:
        commands.run_long(
            f"loading {archive.stem}",
            ["kind", "load", "image-archive", str(archive), "--name", KIND_NAME],
        )

    @property
    def kubeconfig(self) -> Path:
        return paths.state() / "kind.kubeconfig"

    @property
    def kubectl(self) -> Path:
        return _kubectl_on_path()


KINDS: dict[str, Callable[[], Cluster]] = {
    "kubeconfig": Kubeconfig,
    "kind": Kind,
    "embedded": Embedded,
}


def _reachable() -> bool:
    kubeconfig = _default_kubeconfig()
    if kubeconfig in (Embedded().kubeconfig, Kind().kubeconfig):
        # Someone exported ours to look around; it is still ours.
        return False
    named = "KUBECONFIG" in os.environ or kubeconfig.exists()
    return named and commands.found("kubectl") and _answers(kubeconfig)


def _answers(kubeconfig: Path) -> bool:
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "--request-timeout=3s"]
    return commands.succeeds([*command, "get", "--raw", "/readyz"], timeout=5)


def _default_kubeconfig() -> Path:
    return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


def _has_kind() -> bool:
    return commands.found("kind") and docker.answers()


def _kubectl_on_path() -> Path:
    if program := shutil.which("kubectl"):
        return Path(program)
    raise PrerequisiteMissing("kubectl is not installed: put it on PATH")


def _helm() -> Path:
    """The one on PATH, else one built from its Go module."""
    return Path(shutil.which("helm") or binaries.helm())
