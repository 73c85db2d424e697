"""Kubernetes as the app needs it: a protocol for each use. Calls raise Transient or Invalid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret's decoded values, by key, and its metadata, which name it."""

    data: Mapping[str, str] = field(repr=False)
    metadata: Mapping[str, Any]


class ReadableSecrets(Protocol):
    """Reads Secrets."""

    async def secret(self, *, namespace: str, name: str) -> Secret | None: ...


class Secrets(ReadableSecrets, Protocol):
    """Reads and writes Secrets."""

    async def apply_secret(self, secret: Secret, *, absent: Sequence[str]) -> None:
        """Write what `secret` says and leave what others have added, but for `absent`: keys that
        must not be there, whoever wrote them."""
        ...

    async def rehearse_secret(self, secret: Secret) -> None:
        """Raise what an apply would raise, and write nothing."""
        ...


class Events(Protocol):
    """Writes events."""

    async def event(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        kind: Literal["TaskQueue", "Broker"] = "TaskQueue",
    ) -> None:
        """An Event about a TaskQueue or Broker. Never raises: an event is a courtesy."""
        ...


class Reportable(Events, Protocol):
    """Writes the status of TaskQueues and Brokers, and events about them."""

    async def put_task_queue_status(
        self, *, namespace: str, name: str, uid: str, status: Mapping[str, Any]
    ) -> bool:
        """Replace the status of this very TaskQueue; whether it is still there."""
        ...

    async def patch_broker_status(self, *, name: str, patch: Mapping[str, Any]) -> None: ...


class Cluster(Events, Protocol):
    """Reads a TaskQueue anew, and writes events about it."""

    async def task_queue(self, *, namespace: str, name: str) -> TaskQueueObject | None:
        """A TaskQueue as it is now; None when there is none."""
        ...


class Lists(Protocol):
    """Lists all objects of a kind, to compare with what the watches show."""

    async def uids(self, kind: Kind, *, namespace: str | None) -> set[str]:
        """Uids of all objects of a kind that are watched, of one namespace or of the cluster."""
        ...

    async def autoscalers(self, *, namespace: str | None) -> list[Mapping[str, Any]]:
        """All HorizontalPodAutoscalers, of one namespace or of the cluster."""
        ...
