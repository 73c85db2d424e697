"""The operator's view of a RabbitMQ of three nodes, through any of them."""

import asyncio
import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import pika
from pika.adapters.blocking_connection import BlockingChannel

from dev.trio import Node, Trio
from longshore.contract.features import features_of
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE
from longshore_operator.adapters.rabbitmq.link import RabbitMQ, connect
from longshore_operator.app.reconciling.deletion import Deletion
from longshore_operator.app.sessions.declaring import declare
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.credentials import Address, address
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.rabbitmq.topology import vhost_topology
from tests.integration.operator.cleaning import remove_vhost
from tests.integration.operator.conftest import broker_spec, secret
from tests.integration.operator.operating import OneBroker, reconciliations
from tests.integration.operator.task_queues import JSON_JOB, Tenants, until


@dataclass
class Nodes:
    """Three nodes and one virtual host."""

    trio: Trio
    vhost: str
    links: list[RabbitMQ] = field(default_factory=list)

    def __getitem__(self, number: int) -> Node:
        return self.trio.nodes[number]

    def where(self, number: int) -> Address:
        record = self[number].record
        return address(broker_spec(record, vhost=self.vhost), secret(record))

    async def link(self, number: int) -> RabbitMQ:
        link = await connect(self.where(number), heartbeat=30.0)
        self.links.append(link)
        return link

    async def session(self, number: int) -> Session:
        """What all TaskQueues share stands in its vhost."""
        link, where = await self.link(number), self.where(number)
        session = Session(
            spec=broker_spec(self[number].record, vhost=self.vhost),
            address=where,
            features=features_of(link.version),
            link=link,
            clock=time.monotonic,
        )
        await declare(vhost_topology(), session=session)
        return session

    async def tenants(self, number: int) -> Tenants:
        return Tenants(await self.session(number))

    def channel(self, number: int) -> BlockingChannel:
        url = f"{self[number].record['amqp']}{self.vhost}?heartbeat=0"
        return pika.BlockingConnection(pika.URLParameters(url)).channel()

    def publish(self, number: int, queue: str, *, count: int = 1, dead: bool = False) -> None:
        """Confirmed jobs, or dead letters."""
        channel = self.channel(number)
        channel.confirm_delivery()
        exchange = DEAD_EXCHANGE if dead else JOBS_EXCHANGE
        for _ in range(count):
            channel.basic_publish(exchange, queue, b"{}", JSON_JOB, mandatory=True)
        channel.connection.close()

    async def jobs(self, number: int, queue: str) -> int | None:
        """Ready jobs; None where there is no such queue."""
        if not await self.links[0].management.has_queue(queue):
            return None
        channel = self.channel(number)
        found = channel.queue_declare(queue, passive=True).method.message_count
        channel.connection.close()
        return int(found)

    async def get(self, number: int, *path: str) -> Any:
        record = self[number].record
        auth = (record["user"], record["password"])
        async with httpx.AsyncClient(base_url=record["management"], auth=auth) as client:
            response = await client.get("/api/" + "/".join(path))
            response.raise_for_status()
            return response.json()

    async def leader(self, queue: str, *, asked: int = 0) -> int:
        """Number of the node that leads a queue."""
        name = (await self.get(asked, "queues", self.vhost, queue))["leader"]
        return [node.name for node in self.trio.nodes].index(name)

    async def led_by(self, number: int, tenants: Tenants, queue: TaskQueueObject) -> None:
        """Declare a TaskQueue whose job queue is led by this node."""
        await tenants.reconcile(queue)
        await asyncio.to_thread(self.move, queue.source, to=number)

        async def is_there() -> bool:
            return await self.leader(queue.source) == number

        await until(is_there, within=30)

    def move(self, queue: str, *, to: int) -> None:
        """Give the lead of a queue to a node."""
        self.trio.move(queue, vhost=self.vhost, to=to)

    async def restore(self) -> None:
        """All three run and see each other."""
        await asyncio.to_thread(self.trio.restore)

    async def close(self) -> None:
        await self.restore()
        for link in self.links:
            await link.close()
        record = self[0].record
        await remove_vhost(
            self.vhost,
            management=record["management"],
            auth=(record["user"], record["password"]),
        )


async def delete(tenants: Tenants, queue: TaskQueueObject) -> None:
    """As kubectl would; once."""
    queue = dataclasses.replace(queue, is_deleting=True)
    tenants.kubernetes.task_queues[queue.owner.namespace, queue.owner.name] = queue
    deletion = Deletion(
        world=World(),
        brokers=OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        workloads=tenants.kubernetes.workloads(),
        states=reconciliations(),
        clock=time.monotonic,
    )
    await deletion.delete(queue)


async def counted(session: Session, queue: str, *, jobs: int) -> None:
    """Wait until a passive declare counts so many."""

    async def look() -> bool:
        found = (await session.link.depths.read([queue])).get(queue)
        return isinstance(found, Depth) and found.ready == jobs

    await until(look, within=30)
