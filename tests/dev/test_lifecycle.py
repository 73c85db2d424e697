"""The embedded cluster from nothing to nothing, twice.

Its network, ports and firewall chains are the machine's, so there is one per machine: this takes
the shared cluster down and leaves it up, without what was deployed in it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import clusters, commands, recipes
from dev.embedded import components, leftovers
from dev.embedded.cluster import Embedded
from tests.scheduling import ALONE

pytestmark = [
    pytest.mark.e2e_lifecycle,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group(ALONE),
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    monkeypatch.setenv(clusters.CHOICE, "embedded")
    clusters.up()
    _run_a_pod(Embedded())
    yield Embedded()
    clusters.up()


@pytest.mark.parametrize("time_around", ["first", "second"])
def test_a_cluster_taken_down_leaves_nothing_behind(cluster: Embedded, time_around: str) -> None:
    clusters.down()
    assert leftovers.found() == []

    clusters.up()
    assert cluster.healthy()


def test_a_healthy_cluster_is_kept(cluster: Embedded) -> None:
    before = {each.pid for each in leftovers.ours()}

    clusters.up()
    assert {each.pid for each in leftovers.ours()} == before


def test_a_cluster_killed_without_warning_comes_up_again(cluster: Embedded) -> None:
    for process in list(leftovers.ours()):
        os.kill(process.pid, signal.SIGKILL)

    clusters.up()
    assert cluster.healthy()


def test_a_kubelet_that_comes_before_containerd_can_serve_it_is_started_again(
    cluster: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    clusters.down()
    right = components.kubelet
    commands_tried: list[list[str]] = []

    def too_early_at_first(programs: Path) -> list[str]:
        commands_tried.append(right(programs) if commands_tried else ["sleep", "0.1"])
        return commands_tried[-1]

    monkeypatch.setattr(components, "kubelet", too_early_at_first)
    clusters.up()
    assert cluster.healthy()
    assert len(commands_tried) == 2


def _run_a_pod(cluster: Embedded) -> None:
    """Something that has a network namespace, mounts and a process."""
    kubectl: list[str | Path] = [cluster.kubectl, "--kubeconfig", cluster.kubeconfig]
    pod = ["pod", f"idle-{time.time_ns()}"]
    commands.output([*kubectl, "run", pod[1], f"--image={recipes.pause().reference}"])
    commands.output([*kubectl, "wait", "--for=condition=Ready", *pod, "--timeout=60s"])
