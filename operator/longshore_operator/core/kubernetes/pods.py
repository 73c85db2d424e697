"""What a worker's pod says about itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore_operator.api.v1alpha1.pod_template import CONTAINER
from longshore_operator.core.kubernetes.containers import (
    Restart,
    condition,
    epoch_seconds,
    is_pulling,
    last_progress,
    last_restart,
    last_words,
    pod_trouble,
    since,
    stage,
)
from longshore_operator.core.kubernetes.workload import NOT_EVICTABLE
from longshore_operator.trouble import Trouble

__all__ = ["CHEAPEST", "DELETION_COST", "Pod", "crash_of", "pod"]

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation by which a ReplicaSet chooses among ready pods; it takes the cheapest."""

CHEAPEST = str(-(2**31))

STEADY_AFTER = 10.0
"""Seconds that a container which has ended must run before it is trusted. One without a readiness
probe is ready as soon as it runs, and so would be for a moment between any two crashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A worker's pod."""

    name: str
    running: bool
    """Its worker process exists, so it may hold jobs."""

    ready: bool
    ending: bool
    """It was asked to end; it finishes what it has and takes nothing new."""

    over: bool = False
    """It has ended for good and only its object is left, as after an eviction. Kubernetes has
    replaced it and doesn't count it any more."""

    trouble: Trouble | None = None
    uid: str = ""
    created: float | None = None
    """Seconds since the epoch, whole ones."""

    restarts: int = 0
    restart: Restart | None = None
    """The newest one of a container that runs again."""

    is_marked: bool = False
    """It was made the cheapest to take away, by us."""

    is_protected: bool = False
    """Node autoscalers are asked to leave it alone."""

    unready_since: float | None = None
    """When it was last not ready any more, at first when it was made. Seconds since the epoch."""

    stage: str = ""
    """What it is at while it is not ready, in words."""

    stage_since: float | None = None
    """Since when: it was bound to a node, got a network, a container started. What Kubernetes
    warned of before is over."""

    is_pulling: bool = False
    """Nothing is left to do before its next container starts, but to have its image."""

    address: str = ""
    """Its IP address; empty before it has one."""


def pod(body: Mapping[str, Any]) -> Pod:
    """The pod in an object of the Kubernetes API."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = dict(metadata.get("annotations") or {})
    container = _container(status)
    created = epoch_seconds(metadata.get("creationTimestamp"))
    is_over = status.get("phase") in ("Failed", "Succeeded")
    trouble = pod_trouble(metadata["name"], status)
    return Pod(
        name=metadata["name"],
        running="running" in (container.get("state") or {}),
        ready=_is_ready(status),
        ending="deletionTimestamp" in metadata,
        over=is_over,
        trouble=last_words(metadata["name"], status) if is_over else trouble,
        uid=metadata.get("uid", ""),
        created=created,
        restarts=container.get("restartCount", 0),
        restart=last_restart(metadata["name"], status),
        is_marked=annotations.get(DELETION_COST) == CHEAPEST,
        is_protected=NOT_EVICTABLE.items() <= annotations.items(),
        unready_since=since(status, "Ready", is_now="False") or created,
        stage=stage(status),
        stage_since=max(filter(None, (created, last_progress(status))), default=None),
        is_pulling=is_pulling(status),
        address=status.get("podIP") or "",
    )


def crash_of(pods: Iterable[Pod], *, epoch: float) -> Trouble | None:
    """How a container of these pods ended that runs again and may do so for a moment only. `epoch`
    is the present in seconds since then."""
    for pod in pods:
        # A node whose clock is off holds nothing up.
        if pod.restart and -1.0 <= epoch - pod.restart.at < STEADY_AFTER:
            return pod.restart.trouble
    return None


def _is_ready(status: Mapping[str, Any]) -> bool:
    """As Kubernetes ranks pods that may go: sidecars and readiness gates count too."""
    return condition(status, "Ready").get("status") == "True"


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            return dict(container)
    return {}
