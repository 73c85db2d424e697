"""helm, and what it makes of the charts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import binaries, paths

CHARTS = paths.REPO / "charts"
KUBE_VERSION = "--kube-version=1.36.3"
"""A helm built by `go install` takes 1.20 for granted."""


@dataclass(frozen=True)
class Rendered:
    """Objects that a release would consist of."""

    objects: list[dict[str, Any]]

    def one(self, kind: str, *, name: str | None = None) -> dict[str, Any]:
        found = [
            each
            for each in self.objects
            if each["kind"] == kind and name in (None, each["metadata"]["name"])
        ]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
        return found[0]

    def kinds(self) -> list[str]:
        return sorted({each["kind"] for each in self.objects})


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs helm: the development cluster's, one on PATH, or one built for the purpose."""
    record = paths.CLUSTER_RECORD
    known = json.loads(record.read_text())["helm"] if record.exists() else None
    program = known or shutil.which("helm") or str(binaries.helm())

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *map(str, words)],
            env={**os.environ, "KUBECONFIG": os.devnull},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def render(
    helm: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., Rendered]:
    """Objects of a chart with `--set` values, and those of a file, in release `longshore` of
    `longshore-system`."""

    def run(
        *values: str,
        file: Mapping[str, object] | None = None,
        chart: str = "longshore",
        release: str = "longshore",
        namespace: str = "longshore-system",
    ) -> Rendered:
        words = [word for value in values for word in ("--set", value)]
        written = tmp_path / "values.json"
        written.write_text(json.dumps(file or {}))
        done = helm(
            "template",
            release,
            CHARTS / chart,
            f"--namespace={namespace}",
            KUBE_VERSION,
            f"--values={written}",
            *words,
        )
        assert done.returncode == 0, done.stderr
        return Rendered([each for each in yaml.safe_load_all(done.stdout) if each])

    return run
