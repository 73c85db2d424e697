"""Kubernetes as the app needs it: a protocol for each use. Calls raise Transient or Invalid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Kind
from longshore_operator.core.kubernetes.containers import Warned
from longshore_operator.core.kubernetes.rollout import Rollout


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


class Scalable(Protocol):
    """Reads and writes of a TaskQueue's Deployment and pods what scaling needs."""

    async def scale(
        self, *, namespace: str, name: str, uid: str, replicas: int, rollout: Rollout
    ) -> int:
        """Set `replicas` and `strategy` of this very Deployment and own these fields from then on;
        its generation then."""
        ...

    async def rescale(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        before: int,
        to: int,
        rollout: Rollout,
        most_pods: int | None = None,
    ) -> int:
        """The same, but only if they are `before`, there are at most `most_pods`, and the
        Deployment does not change meanwhile."""
        ...

    async def has_pod(self, *, namespace: str, name: str, uid: str) -> bool:
        """Whether this very pod is there."""
        ...

    async def warnings(self, *, namespace: str, uid: str) -> list[Warned]:
        """Warnings about the pod with this uid."""
        ...

    async def retry_pods(self, *, namespace: str, name: str, at: str) -> None:
        """Have Kubernetes make a Deployment's missing pods now, rather than after its own pause.

        `at` is any text that was not given before."""
        ...

    async def annotate_pod(
        self, *, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> None:
        """Set annotations of this very pod; None removes. A pod that is gone is Transient."""
        ...


class Deployments(Scalable, Protocol):
    """Reads and writes Deployments and their disruption budgets."""

    async def disruption_budget(self, *, namespace: str, name: str) -> Mapping[str, Any] | None: ...

    async def apply_disruption_budget(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Server-side apply; what it says then."""
        ...

    async def deployment(self, *, namespace: str, name: str) -> Mapping[str, Any] | None: ...

    async def apply_deployment(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Server-side apply; what it says then. A body without `replicas` and `strategy` leaves
        them to the scaler."""
        ...

    async def reclaim_deployment(
        self, live: Mapping[str, Any], *, managed_fields: Sequence[Mapping[str, Any]]
    ) -> None:
        """Say who has set which field of a Deployment, if it is still as in `live`."""
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


class Cluster(Secrets, Deployments, Events, Protocol):
    """Reads and writes everything that belongs to a TaskQueue."""

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
