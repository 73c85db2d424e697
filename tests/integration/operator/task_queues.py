"""TaskQueues brought to a real RabbitMQ, with Kubernetes left out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pika
from pika.adapters.blocking_connection import BlockingChannel

from longshore.contract.names import AMQP_URL_ENV
from longshore_operator.api.v1alpha1 import TaskQueueStatus
from longshore_operator.app.ports.workloads import WantedWorkers
from longshore_operator.app.reconciling.users import Remembered, admit
from longshore_operator.app.sessions.declaring import declare
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import NamespaceObject, TaskQueueObject, task_queue
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.topology import task_queue_topology
from tests.integration.operator.fakes import Kubernetes

JSON_JOB = pika.BasicProperties(type="work", content_type="application/json", delivery_mode=2)


def made(
    name: str = "transcode",
    *,
    namespace: str = "media",
    generation: int = 1,
    created: str = "2026-01-01T00:00:00Z",
    rotation: str = "",
    uid: str = "",
    **spec: Any,
) -> TaskQueueObject:
    """A TaskQueue as the cluster shows it."""
    body = {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": uid or f"uid-{namespace}-{name}",
            "generation": generation,
            "creationTimestamp": created,
            "finalizers": ["longshore.dev/finalizer"],
            "annotations": {"longshore.dev/rotate-credentials": rotation} if rotation else {},
        },
        "spec": {
            "timeLimit": {"hard": "2h"},
            "worker": {"image": "media:1", "handlers": ["media.jobs"]},
            **spec,
        },
        "status": TaskQueueStatus().model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    return task_queue(body)


@dataclass
class Tenants:
    """Reconciles TaskQueues and hands out their connections."""

    session: Session
    kubernetes: Kubernetes = field(default_factory=Kubernetes)

    async def reconcile(self, queue: TaskQueueObject) -> None:
        assert queue.spec is not None
        features = self.session.features
        limits = timeouts(queue.spec, features=features)
        topology = task_queue_topology(
            queue=queue.owner.queue, spec=queue.spec, timeouts=limits, features=features
        )
        await declare(topology, session=self.session)
        await admit(
            queue.owner,
            session=self.session,
            secrets=self.kubernetes,
            new_password=lambda: "p/ss w@rd",
            remembered=Remembered(),
            source=queue.source,
        )
        wanted = WantedWorkers(
            spec=queue.spec,
            timeouts=limits,
            heartbeat=self.session.spec.heartbeat,
            address=self.session.address,
            credentials=None,
        )
        await self.kubernetes.workloads().ensure(queue.owner, wanted)

    def url(self, queue: TaskQueueObject, role: str) -> str:
        owner = queue.owner
        return self.kubernetes.secrets[owner.namespace, f"{owner.name}-{role}"][AMQP_URL_ENV]

    @contextmanager
    def channel(self, queue: TaskQueueObject, role: str) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(pika.URLParameters(self.url(queue, role)))
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()

    def publish(
        self, queue: TaskQueueObject, *, exchange: str, key: str, role: str = "producer"
    ) -> None:
        with self.channel(queue, role) as channel:
            channel.confirm_delivery()
            channel.basic_publish(exchange, key, b"{}", JSON_JOB, mandatory=True)

    async def get(self, *path: str) -> Any:
        where = self.session.address
        auth = (where.username, where.password)
        async with httpx.AsyncClient(base_url=where.management_url, auth=auth) as client:
            response = await client.get("/api/" + "/".join(path))
            response.raise_for_status()
            return response.json()


def labelled(**labels: dict[str, str]) -> dict[str, list[NamespaceObject]]:
    """Namespaces with these labels, as the cluster shows them."""
    return {
        name: [NamespaceObject(uid=f"uid-{name}", labels=each)] for name, each in labels.items()
    }


async def until(holds: Callable[[], Awaitable[Any]], *, within: float = 10.0) -> Any:
    """Wait for what `holds` gives to be true; the deadline is an error."""
    async with asyncio.timeout(within):
        while True:
            if found := await holds():
                return found
            await asyncio.sleep(0.05)
