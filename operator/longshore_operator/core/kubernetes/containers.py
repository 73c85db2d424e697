"""What a pod's status reports about its containers, in Kubernetes' own words.

Two names of one state get one reason: pulling an image alternates with backing off, and a crash
with the pause after it. If the reason alternated too, each change would post an Event.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from longshore_operator.api.v1alpha1.pod_template import CONTAINER
from longshore_operator.trouble import Trouble

_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons for which a container waits in normal operation."""

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})

_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons for which a container ended without its process ever running, e.g. a missing command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A restart of a container that is well now."""

    trouble: Trouble
    """How it ended."""

    at: float
    """When it was restarted, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning that Kubernetes has posted about a pod."""

    reason: str
    message: str
    at: float
    """When it was last posted, in seconds since the epoch."""


def warned(event: Mapping[str, Any]) -> Warned | None:
    """Return the warning in an Event; None if it has no reason or no time."""
    at = epoch_seconds(
        # Events of the newer kind have no `lastTimestamp`, and a series once they are repeated.
        (event.get("series") or {}).get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or (event.get("metadata") or {}).get("creationTimestamp")
    )
    reason = event.get("reason")
    if not reason or at is None:
        return None
    return Warned(reason=reason, message=(event.get("message") or reason).strip(), at=at)


@dataclass(frozen=True, slots=True)
class _Container:
    """One container of a pod, with its name for messages."""

    status: Mapping[str, Any]
    is_init: bool

    @property
    def name(self) -> str:
        name = self.status.get("name", "")
        if self.is_init:
            return f"init container {name!r}"
        return "the worker" if name == CONTAINER else f"container {name!r}"

    @property
    def waiting(self) -> Mapping[str, Any]:
        return (self.status.get("state") or {}).get("waiting") or {}

    @property
    def ended(self) -> Mapping[str, Any]:
        """How it ended last, even if it runs for a moment between two crashes."""
        state, last = self.status.get("state") or {}, self.status.get("lastState") or {}
        now, before = state.get("terminated") or {}, last.get("terminated") or {}
        # A kill for lack of memory is reported once as such, and once as any SIGKILL.
        if before.get("reason") == "OOMKilled" and before.get("exitCode") == now.get("exitCode"):
            return before
        return now or before

    @property
    def is_well(self) -> bool:
        if self.is_init:
            ended = (self.status.get("state") or {}).get("terminated")
            return bool(self.status.get("ready")) or (ended or {}).get("exitCode") == 0
        return bool(self.status.get("ready"))


def pod_trouble(pod: str, status: Mapping[str, Any]) -> Trouble | None:
    """Return why a pod with this status is not ready, if that is known. `pod` is its name."""
    for container in _containers(status):
        if trouble := _container_trouble(container, pod=pod):
            return trouble
    scheduled = condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        said = scheduled.get("message") or "cannot be scheduled"
        return Trouble(
            reason=scheduled.get("reason") or "Unschedulable", message=f"pod {pod}: {said}"
        )
    return None


def last_restart(pod: str, status: Mapping[str, Any]) -> Restart | None:
    """Return the newest restart among the containers that run and are well."""
    restarts = []
    for container in _containers(status):
        running = (container.status.get("state") or {}).get("running") or {}
        at = epoch_seconds(running.get("startedAt"))
        if container.is_well and container.ended and at is not None:
            whose = f"pod {pod}: {container.name}"
            restarts.append(Restart(trouble=_end(container, container.ended, whose=whose), at=at))
    return max(restarts, key=lambda restart: restart.at, default=None)


def last_words(pod: str, status: Mapping[str, Any]) -> Trouble | None:
    """Return why a pod that has ended for good could not run: its node evicted or refused it."""
    reason = status.get("reason")
    if not reason:
        return None
    return Trouble(reason=reason, message=f"pod {pod}: {status.get('message') or reason}")


def stage(status: Mapping[str, Any]) -> str:
    """Describe what a pod with this status is waiting for."""
    containers = list(_containers(status))
    for container in containers:
        if container.is_init and not container.is_well:
            return f"waits for {container.name}"
    for container in containers:
        if container.waiting:
            return f"{container.name} is {container.waiting.get('reason') or 'waiting'}"
    for container in containers:
        if not container.is_well:
            return f"{container.name} runs and is not ready"
    return "has no containers yet" if not containers else "is not ready"


def last_progress(status: Mapping[str, Any]) -> float | None:
    """Return when a pod with this status last made progress towards being ready, in seconds since
    the epoch. On a busy machine, every step takes longer without being overdue."""
    steps = [
        since(status, type_, is_now="True")
        for type_ in ("PodScheduled", "PodReadyToStartContainers", "Initialized")
    ]
    for container in _containers(status):
        state = container.status.get("state") or {}
        steps.append(epoch_seconds((state.get("running") or {}).get("startedAt")))
        if container.is_init and container.is_well:
            steps.append(epoch_seconds((state.get("terminated") or {}).get("finishedAt")))
    return max(filter(None, steps), default=None)


def is_pulling(status: Mapping[str, Any]) -> bool:
    """Return whether a pod with this status waits only for an image: for anything else that a
    container waits for, there is another reason."""
    return condition(status, "PodReadyToStartContainers").get("status") == "True" and any(
        container.waiting.get("reason") == "ContainerCreating"
        or (container.is_init and container.waiting.get("reason") == "PodInitializing")
        for container in _containers(status)
    )


def condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """Return a condition of an object with this status; empty if there is none."""
    return next(
        (each for each in status.get("conditions") or () if each.get("type") == type_),
        {},
    )


def since(status: Mapping[str, Any], type_: str, *, is_now: str) -> float | None:
    """Return since when a condition has had the status `is_now`, in seconds since the epoch; None
    if it has another status."""
    found = condition(status, type_)
    return epoch_seconds(found.get("lastTransitionTime")) if found.get("status") == is_now else None


def epoch_seconds(timestamp: str | None) -> float | None:
    """Return a time in RFC 3339 as seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else None


def _containers(status: Mapping[str, Any]) -> Iterator[_Container]:
    """Return the containers in the order in which they block each other; the worker comes before
    its sidecars."""
    for each in status.get("initContainerStatuses") or ():
        yield _Container(each, is_init=True)
    beside = []
    for each in status.get("containerStatuses") or ():
        if each.get("name") == CONTAINER:
            yield _Container(each, is_init=False)
        else:
            beside.append(_Container(each, is_init=False))
    yield from beside


def _container_trouble(container: _Container, *, pod: str) -> Trouble | None:
    waiting, whose = container.waiting, f"pod {pod}: {container.name}"
    reason = waiting.get("reason", "")
    if reason in _IMAGE:
        reason = "ImagePullBackOff" if reason == "ErrImagePull" else reason
        said = waiting.get("message", reason).rpartition("ErrImagePull: ")[2]
        where = f"pod {pod}" if container.name == "the worker" else whose
        image = container.status.get("image")
        return Trouble(reason=reason, message=f"{where}: image {image!r}: {said}")
    if container.is_well:
        return None
    if reason not in _STARTING and reason not in ("CrashLoopBackOff", "RunContainerError"):
        return Trouble(reason=reason, message=f"{whose}: {waiting.get('message') or reason}")
    if ended := container.ended:
        return _end(container, ended, whose=whose)
    if reason == "RunContainerError":
        return Trouble(reason=reason, message=f"{whose}: {waiting.get('message') or reason}")
    return None


def _end(container: _Container, ended: Mapping[str, Any], *, whose: str) -> Trouble:
    code, kind = ended.get("exitCode", 0), ended.get("reason") or "Error"
    said = (ended.get("message") or "").strip() or f"{kind}, no message"
    if kind in _NOT_STARTED:
        return Trouble(reason="RunContainerError", message=f"{whose} cannot be started: {said}")
    if kind == "OOMKilled" and kind not in said:
        said = f"{kind}: {said}"
    message = f"{whose} ended with exit code {code}: {said}"
    if container.is_init:
        return Trouble(reason="InitContainerFailed", message=message)
    if container.name != "the worker":
        return Trouble(reason="ContainerCrashed", message=message)
    if code == 0:
        message += (
            "; it should run until it is terminated: make sure its command is the image's own"
        )
        return Trouble(reason="WorkerExited", message=message)
    return Trouble(reason="WorkerCrashed", message=message)
