"""A worker's pod, as Kubernetes shows it."""

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
"""Annotation by which a ReplicaSet chooses among ready pods; it removes the cheapest."""

CHEAPEST = str(-(2**31))

STEADY_AFTER = 10.0
"""Seconds that a restarted container must run before it is trusted. One without a readiness probe
is ready as soon as it runs, and so it would be ready for a moment between any two crashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A worker's pod."""

    name: str
    running: bool
    """Its worker process exists, so it may hold jobs."""

    ready: bool
    ending: bool
    """It is being terminated; it finishes the jobs that it has and takes no new ones."""

    over: bool = False
    """It has ended for good, as after an eviction, and only its object is left. Kubernetes has
    replaced it and no longer counts it."""

    trouble: Trouble | None = None
    uid: str = ""
    created: float | None = None
    """When it was created, in whole seconds since the epoch."""

    restarts: int = 0
    restart: Restart | None = None
    """The newest restart of a container that runs again."""

    is_marked: bool = False
    """The operator has marked it as the cheapest to remove."""

    is_protected: bool = False
    """It is annotated so that node autoscalers do not evict it."""

    unready_since: float | None = None
    """Since when it has not been ready; at first, when it was created. Seconds since the epoch."""

    stage: str = ""
    """What it is waiting for while it is not ready, in words."""

    stage_since: float | None = None
    """Since when, in seconds since the epoch: it was bound to a node, got a network, or a container
    started. Earlier warnings of Kubernetes no longer apply."""

    is_pulling: bool = False
    """Only the image is missing before its next container can start."""

    address: str = ""
    """Its IP address; empty before it has one."""


def pod(body: Mapping[str, Any]) -> Pod:
    """Return the pod in an object of the Kubernetes API."""
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
    """Return how a container of these pods ended that was restarted only a moment ago; None if
    there is none. `epoch` is the present, in seconds since the epoch."""
    for pod in pods:
        # The clock of a node may be wrong: a restart in the future is ignored.
        if pod.restart and -1.0 <= epoch - pod.restart.at < STEADY_AFTER:
            return pod.restart.trouble
    return None


def _is_ready(status: Mapping[str, Any]) -> bool:
    """Return whether Kubernetes counts it as ready when it chooses pods to remove: sidecars and
    readiness gates count too."""
    return condition(status, "Ready").get("status") == "True"


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            return dict(container)
    return {}
