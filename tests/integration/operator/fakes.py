"""Kubernetes for tests that are about RabbitMQ: Secrets, Deployments and events in dicts."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from longshore.contract.names import worker_name
from longshore_operator.adapters.kubernetes.workloads import KubernetesWorkloads
from longshore_operator.app.ports.kubernetes import Secret
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.containers import Warned
from longshore_operator.core.kubernetes.rollout import Rollout
from longshore_operator.errors import Invalid

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
    refused: set[str] = field(default_factory=set)
    """Writes that an admission policy refuses, as they stand in `writes`."""
    task_queues: dict[Key, TaskQueueObject] = field(default_factory=dict)

    def workloads(self, world: World | None = None) -> KubernetesWorkloads:
        """Workers as the operator has them in Kubernetes; `world` is what the watches show."""
        return KubernetesWorkloads(world=world or World(), cluster=self)

    async def task_queue(self, *, namespace: str, name: str) -> TaskQueueObject | None:
        return self.task_queues.get((namespace, name))

    async def secret(self, *, namespace: str, name: str) -> Secret | None:
        data = self.secrets.get((namespace, name))
        metadata = self.metadata.get((namespace, name), {})
        return None if data is None else Secret(data=data, metadata=metadata)

    async def apply_secret(self, secret: Secret, *, absent: Sequence[str]) -> None:
        self._write(f"secret {secret.metadata['name']}")
        key = secret.metadata["namespace"], secret.metadata["name"]
        live = {**self.secrets.get(key, {}), **secret.data}
        self.secrets[key] = {name: live[name] for name in live.keys() - set(absent)}
        self.metadata[key] = dict(secret.metadata)

    async def rehearse_secret(self, secret: Secret) -> None:
        self._refuse(f"secret {secret.metadata['name']}")

    def _write(self, what: str) -> None:
        self._refuse(what)
        self.writes.append(what)

    def _refuse(self, what: str) -> None:
        if what in self.refused:
            raise Invalid(f"{what} is frozen", reason="RefusedByKubernetes")

    async def disruption_budget(self, *, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.budgets.get((namespace, name))

    async def apply_disruption_budget(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._write(f"disruption budget {body['metadata']['name']}")
        self.budgets[_key(body)] = dict(body)
        return body

    async def deployment(self, *, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self.deployments.get((namespace, name))

    async def apply_deployment(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._write(f"deployment {body['metadata']['name']}")
        live = self.deployments.setdefault(_key(body), {"metadata": {}, "spec": {}})
        live["metadata"]["resourceVersion"] = str(len(self.writes))
        parts = {part: live[part] | body[part] for part in ("metadata", "spec")}
        self.deployments[_key(body)] = {**body, **parts}
        return self.deployments[_key(body)]

    async def scale(
        self, *, namespace: str, name: str, uid: str, replicas: int, rollout: Rollout
    ) -> int:
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
        uid: str,
        before: int,
        to: int,
        rollout: Rollout,
        most_pods: int | None = None,
    ) -> int:
        return await self.scale(
            namespace=namespace, name=name, uid=uid, replicas=to, rollout=rollout
        )

    async def reclaim_deployment(
        self, live: Mapping[str, Any], *, managed_fields: Sequence[Mapping[str, Any]]
    ) -> None:
        self.writes.append(f"reclaim {live['metadata']['name']}")
        self.deployments[_key(live)]["metadata"]["managedFields"] = list(managed_fields)

    async def has_pod(self, *, namespace: str, name: str, uid: str) -> bool:
        return False

    async def warnings(self, *, namespace: str, uid: str) -> list[Warned]:
        return []

    async def retry_pods(self, *, namespace: str, name: str, at: str) -> None:
        self.writes.append(f"retry pods of {name}")

    async def annotate_pod(
        self, *, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> None:
        self.writes.append(f"annotate pod {name}")

    async def put_task_queue_status(
        self, *, namespace: str, name: str, uid: str, status: Mapping[str, Any]
    ) -> bool:
        self.statuses.append(status)
        return True

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


T = TypeVar("T")


@dataclass
class Watched(Mapping[Key, list[T]]):
    """Objects that were applied, by the TaskQueue that they belong to, as watches show them."""

    applied: Mapping[Key, Mapping[str, Any]]
    read: Callable[[Mapping[str, Any]], T]

    def __getitem__(self, key: Key) -> list[T]:
        return [self.read(self.applied[key[0], worker_name(key[1])])]

    def __iter__(self) -> Iterator[Key]:
        return ((namespace, name.removesuffix("-worker")) for namespace, name in self.applied)

    def __len__(self) -> int:
        return len(self.applied)


def _key(body: Mapping[str, Any]) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]


@dataclass
class Hanging(Kubernetes):
    """It takes the status of `slow` only when it is told to."""

    slow: str = ""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    written: list[str] = field(default_factory=list)
    is_hanging: bool = False

    async def put_task_queue_status(
        self, *, namespace: str, name: str, uid: str, status: Mapping[str, Any]
    ) -> bool:
        if name == self.slow:
            self.is_hanging = True
            await self.go_on.wait()
        self.written.append(name)
        return True
