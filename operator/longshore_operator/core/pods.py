"""What a worker's pod says about itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore_operator.api.v1alpha1.pod_template import CONTAINER
from longshore_operator.core.workload import NOT_EVICTABLE

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation by which a ReplicaSet chooses among ready pods; it takes the cheapest."""

CHEAPEST = str(-(2**31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why something does not work: one word for programs, a sentence for people."""

    reason: str
    message: str


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
    is_marked: bool = False
    """It was made the cheapest to take away, by us."""

    is_protected: bool = False
    """Node autoscalers are asked to leave it alone."""


def pod(body: Mapping[str, Any]) -> Pod:
    """The pod in an object of the Kubernetes API."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = dict(metadata.get("annotations") or {})
    container = _container(status)
    state = container.get("state") or {}
    return Pod(
        name=metadata["name"],
        running="running" in state,
        ready=_is_ready(status),
        ending="deletionTimestamp" in metadata,
        over=status.get("phase") in ("Failed", "Succeeded"),
        trouble=_trouble(metadata["name"], status=status, container=container),
        uid=metadata.get("uid", ""),
        created=_seconds(metadata.get("creationTimestamp")),
        restarts=container.get("restartCount", 0),
        is_marked=annotations.get(DELETION_COST) == CHEAPEST,
        is_protected=NOT_EVICTABLE.items() <= annotations.items(),
    )


def _is_ready(status: Mapping[str, Any]) -> bool:
    """As Kubernetes ranks pods that may go: sidecars and readiness gates count too."""
    return any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in status.get("conditions") or ()
    )


def _seconds(timestamp: str | None) -> float | None:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else None


_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_SETUP = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def _trouble(
    name: str, *, status: Mapping[str, Any], container: Mapping[str, Any]
) -> Trouble | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in _IMAGE:
        # Pull and back-off alternate while the kubelet retries; one name and text for one state.
        reason = "ImagePullBackOff" if reason == "ErrImagePull" else reason
        said = waiting.get("message", reason).rpartition("ErrImagePull: ")[2]
        return Trouble(
            reason=reason, message=f"pod {name}: image {container.get('image')!r}: {said}"
        )
    if reason in _SETUP:
        return Trouble(reason=reason, message=f"pod {name}: {waiting.get('message', reason)}")
    if container.get("ready"):
        return None
    # Between two crashes the container runs for a moment: that it crashed still holds.
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if ended.get("exitCode", 0) != 0:
        said = (ended.get("message") or "").strip() or f"{ended.get('reason', 'Error')}, no message"
        return Trouble(
            reason="WorkerCrashed",
            message=f"pod {name}: the worker ended with exit code {ended['exitCode']}: {said}",
        )
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Trouble(
                reason=condition.get("reason", "Unschedulable"),
                message=f"pod {name}: {condition.get('message', 'cannot be scheduled')}",
            )
    return None


def _container(status: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in status.get("containerStatuses") or ():
        if container.get("name") == CONTAINER:
            return dict(container)
    return {}
