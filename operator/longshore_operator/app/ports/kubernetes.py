"""Kubernetes as the app needs it: one protocol per use. Calls raise Transient or Invalid."""

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
        """Write the keys and metadata of `secret`, keep what others have added, and remove the
        keys in `absent`, whoever wrote them."""
        ...

    async def rehearse_secret(self, secret: Secret) -> None:
        """Raise whatever an apply would raise, but write nothing."""
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
        """Write an Event about a TaskQueue or Broker. Never raises, since no work depends on it."""
        ...


class Reportable(Events, Protocol):
    """Writes the status of TaskQueues and Brokers, and events about them."""

    async def put_task_queue_status(
        self, *, namespace: str, name: str, uid: str, status: Mapping[str, Any]
    ) -> bool:
        """Replace the status of the TaskQueue with this uid; return whether it still exists."""
        ...

    async def patch_broker_status(self, *, name: str, patch: Mapping[str, Any]) -> None: ...


class Cluster(Events, Protocol):
    """Reads the current state of a TaskQueue, and writes events about it."""

    async def task_queue(self, *, namespace: str, name: str) -> TaskQueueObject | None:
        """Return a TaskQueue as it is now; None if there is none."""
        ...


class Lists(Protocol):
    """Lists all objects of a kind, to compare with what the watches show."""

    async def uids(self, kind: Kind, *, namespace: str | None) -> set[str]:
        """Return the uids of all objects of a watched kind, in one namespace or the cluster."""
        ...

    async def autoscalers(self, *, namespace: str | None) -> list[Mapping[str, Any]]:
        """Return all HorizontalPodAutoscalers of one namespace or of the cluster."""
        ...
