"""Longshore in the development cluster: both charts as a user installs them, trial RabbitMQ too."""

from __future__ import annotations

import json

from dev import paths
from dev.kube import Kube

NAMESPACE = "longshore-system"
RELEASE = "longshore"
BROKER_SERVICE = f"{RELEASE}-rabbitmq"

HEARTBEAT = "10s"
"""Short, so that a job of half a minute outlasts three of them."""


BUDGETS = {"shared": 3}
"""Workers that TaskQueues of a group may have together."""


def install(kube: Kube, *, rabbitmq: str = "4.3") -> None:
    """Install or upgrade, and wait until the operator is ready and has reached RabbitMQ."""
    images = json.loads(paths.IMAGES_RECORD.read_text())
    charts = paths.REPO / "charts"
    kube.helm("upgrade", "--install", "longshore-crds", str(charts / "longshore-crds"))
    kube.helm(
        "upgrade",
        "--install",
        RELEASE,
        str(charts / "longshore"),
        f"--namespace={NAMESPACE}",
        "--create-namespace",
        "--wait",
        "--timeout=240s",
        f"--set=image.reference={images['operator']}",
        "--set=rabbitmq.enabled=true",
        f"--set=rabbitmq.image={images[f'rabbitmq-{rabbitmq}']}",
        f"--set=broker.heartbeat={HEARTBEAT}",
        *[f"--set=budgets.{group}={count}" for group, count in BUDGETS.items()],
    )
    kube.kubectl("wait", "broker/default", "--for=condition=Ready", "--timeout=120s")
