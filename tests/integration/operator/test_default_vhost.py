"""RabbitMQ's default vhost, `/`, whose name has to be quoted in every address."""

from collections.abc import AsyncIterator

import pytest

from dev.private import Private
from longshore.contract.delays import route
from longshore.contract.names import JOBS_EXCHANGE
from longshore_operator.adapters.rabbitmq.link import connect
from longshore_operator.app.reconciling.deletion import Deletion
from longshore_operator.core.access.credentials import address
from longshore_operator.core.rabbitmq.depth import Depth
from tests.integration.operator.conftest import broker_spec, ready_session, secret
from tests.integration.operator.operating import OneBroker, Operating
from tests.integration.operator.task_queues import Tenants, made, until


@pytest.fixture
async def operating(own: Private) -> AsyncIterator[Operating]:
    where = address(broker_spec(own.record, vhost="/"), secret(own.record))
    link = await connect(where, heartbeat=30.0)
    session = await ready_session(where, link)
    async with Operating(session).running() as operating:
        yield operating
    await link.close()


async def test_jobs_pass_through_it_and_a_deletion_leaves_nothing(operating: Operating) -> None:
    session, queue = operating.session, made(deletionPolicy="Delete")
    tenants = Tenants(session, operating.kubernetes)
    before, users = await session.management.inventory(), await tenants.get("users")
    await operating.ready(queue)

    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")
    exchange, key = route("media.transcode", delay=2)
    tenants.publish(queue, exchange=exchange, key=key)

    async def arrived() -> bool:
        found = (await session.link.depths.read(["media.transcode"]))["media.transcode"]
        return isinstance(found, Depth) and found.ready == 2

    await until(arrived)
    with tenants.channel(queue, "worker") as channel:
        _, _, body = channel.basic_get("media.transcode", auto_ack=True)
    assert body == b"{}"

    operating.world.queues = {}
    await Deletion(
        world=operating.world,
        brokers=OneBroker(session),
        cluster=operating.kubernetes,
        workloads=operating.workloads,
        states=operating.states,
        clock=lambda: 0.0,
    ).delete(queue)
    after = await session.management.inventory()
    assert (after.queues, after.bindings) == (before.queues, before.bindings)
    assert await tenants.get("users") == users
