"""The README's first command does what it says."""

import json
import subprocess
import sys

import pytest

from dev import paths
from dev.kube import Kube


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_the_demo_ends_well_and_says_so(kube: Kube) -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=paths.REPO,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert demo.returncode == 0, demo.stdout + demo.stderr
    report = json.loads((paths.BUILD / "demo.json").read_text())
    assert report["enqueued"] >= 200
    assert report["succeeded"] + report["dead"] == report["enqueued"]
    assert (report["lost"], report["ran_twice"], report["workers_at_end"]) == (0, 0, 0)
