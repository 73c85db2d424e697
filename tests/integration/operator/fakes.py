"""Kubernetes for tests that are about RabbitMQ: Secrets, Deployments and events in dicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from longshore_operator.app.cluster import Secret
from longshore_operator.core.rollout import Rollout

Key = tuple[str, str]


@dataclass
class Kubernetes:
    """What was applied, and how many writes there were."""

    secrets: dict[Key, dict[str, str]] = field(default_factory=dict)
    metadata: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """Of Secrets."""

    deployments: dict[Key, dict[str, Any]] = field(default_factory=dict)
    budgets: dict[Key, dict[str, Any]] = field(default_factory=dict)
    statuses: list[Mapping[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    """Their reasons."""

    messages: list[str] = field(default_factory=list)
    """What the events say."""

    writes: list[str] = field(default_factory=list)

    async def secret(self, *, namespace: str, name: str) -> Secret | None:
        data = self.secrets.get((namespace, name))
        metadata = self.metadata.get((namespace, name), {})
        return None if data is None else Secret(data=data, metadata=metadata)

    async def apply_secret(self, body: Mapping[str, Any]) -> None:
        self.writes.append(f"secret {body['metadata']['name']}")
        self.secrets[_key(body)] = dict(body["stringData"])
        self.metadata[_key(body)] = body["metadata"]

    async def disruption_budget(self, *, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.budgets.get((namespace, name))

    async def apply_disruption_budget(self, body: Mapping[str, Any]) -> None:
        self.writes.append(f"disruption budget {body['metadata']['name']}")
        self.budgets[_key(body)] = dict(body)

    async def deployment(self, *, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.deployments.get((namespace, name))

    async def apply_deployment(self, body: Mapping[str, Any]) -> None:
        self.writes.append(f"deployment {body['metadata']['name']}")
        live = self.deployments.setdefault(_key(body), {"metadata": {}, "spec": {}})
        live["metadata"]["resourceVersion"] = str(len(self.writes))
        parts = {part: live[part] | body[part] for part in ("metadata", "spec")}
        self.deployments[_key(body)] = {**body, **parts}

    async def scale(self, *, namespace: str, name: str, replicas: int, rollout: Rollout) -> int:
        self.writes.append(f"scale {name} to {replicas}")
        live = self.deployments[namespace, name]
        live["spec"] |= {"replicas": replicas, "strategy": rollout.strategy()}
        owned = {"manager": "longshore-scaler", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        live["metadata"]["managedFields"] = [owned]
        return 1

    async def rescale(
        self,
        *,
        namespace: str,
        name: str,
        before: int,
        to: int,
        rollout: Rollout,
        most_pods: int | None = None,
    ) -> int:
        return await self.scale(namespace=namespace, name=name, replicas=to, rollout=rollout)

    async def patch_task_queue_status(
        self, *, namespace: str, name: str, patch: Mapping[str, Any]
    ) -> None:
        self.statuses.append(patch)

    async def patch_broker_status(self, *, name: str, patch: Mapping[str, Any]) -> None:
        self.statuses.append(patch)

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
        self.events.append(reason)
        self.messages.append(message)


def _key(body: Mapping[str, Any]) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]
