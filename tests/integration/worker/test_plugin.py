"""The example of a middleware in a package of its own, installed as its users would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.worker.workers import PYTHONPATH, Bench

pytestmark = pytest.mark.integration

PLUGIN = Path(__file__).parents[3] / "examples" / "plugins" / "statsd"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(PLUGIN)],
        check=True,
    )
    return folder


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        yield server


def test_the_plugins_own_tests_pass(installed: Path) -> None:
    path = ":".join([str(installed), *PYTHONPATH])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "tests"],
        cwd=PLUGIN,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_it_counts_real_jobs(bench: Bench, installed: Path, statsd: socket.socket) -> None:
    (bench.directory / "easy.py").write_text(
        "from longshore import handler\n\n@handler(throws=KeyError)\n"
        "def easy(how: str = ''):\n    if how:\n        raise KeyError(how)\n"
    )
    host, port = statsd.getsockname()
    path = ":".join([str(bench.directory), str(installed), *PYTHONPATH])
    bench.started(
        handlers=["easy"],
        middleware=["statsd"],
        env={"STATSD_ADDRESS": f"{host}:{port}", "PYTHONPATH": path},
    )
    bench.enqueue("easy")
    assert statsd.recv(1000).startswith(b"longshore.easy.succeeded:1|c\nlongshore.easy.seconds:")
    bench.enqueue("easy", how="declined")
    assert statsd.recv(1000).startswith(b"longshore.easy.announced:1|c\n")
