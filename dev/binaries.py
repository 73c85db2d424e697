"""Programs built from Go modules, once: no prebuilt binary is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dev import commands, paths
from dev.cache import content_key, lock, made_once
from dev.errors import PrerequisiteMissing

KUBERNETES = "v1.36.3"
# One module has both, so what they share is compiled once.
MODULE = paths.SOURCES / "programs"
COREDNS = "./coredns"
HELM = "helm.sh/helm/v3/cmd/helm"

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
)
# -s -w: without debug tables the binary is a third smaller.
LINKING = "-s -w"
STAMP = "".join(
    f" -X {package}/version.gitVersion={KUBERNETES}"
    for package in ("k8s.io/component-base", "k8s.io/client-go/pkg")
)


def kubernetes() -> Path:
    """The folder with kubectl and every component of COMPONENTS: links to one binary."""
    source = paths.SOURCES / "kubernetes"

    def make(folder: Path) -> None:
        output = str(folder / "kubernetes")
        _go("Kubernetes", ["build", "-ldflags", LINKING + STAMP, "-o", output, "."], source)
        for name in (*COMPONENTS, "kubectl"):
            (folder / name).symlink_to("kubernetes")

    key = content_key(files=[source], values=[LINKING + STAMP, *COMPONENTS])
    return _built("kubernetes", key=key, make=make)


def coredns() -> Path:
    return _of_module("coredns", package=COREDNS)


def helm() -> Path:
    return _of_module("helm", package=HELM)


def pause() -> Path:
    """A static program, for an image with nothing else in it."""
    source = paths.SOURCES / "dockerfiles" / "pause" / "main.go"

    def make(folder: Path) -> None:
        output = str(folder / "pause")
        _go("pause", ["build", "-ldflags", LINKING, "-o", output, source.name], source.parent)

    return _built("pause", key=content_key(files=[source], values=[LINKING]), make=make) / "pause"


def _of_module(name: str, *, package: str) -> Path:
    def make(folder: Path) -> None:
        arguments = ["build", "-ldflags", LINKING, "-o", str(folder / name), package]
        _go(name, arguments, MODULE)

    key = content_key(files=[MODULE], values=[LINKING, package])
    return _built(name, key=key, make=make) / name


def _built(name: str, *, key: str, make: Callable[[Path], None]) -> Path:
    with lock(f"bin-{name}"):
        return made_once(f"bin/{name}", key=key, make=make)


def _go(title: str, arguments: list[str], directory: Path) -> None:
    if not commands.found("go"):
        raise PrerequisiteMissing("go is not installed: install Go 1.26 or newer, put it on PATH")
    verb, *rest = arguments
    commands.run_long(
        f"building {title}",
        ["go", verb, "-trimpath", "-buildvcs=false", *rest],
        directory=directory,
        environment={"CGO_ENABLED": "0"},
    )
