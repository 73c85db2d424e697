"""Longshore's policies touch the queues of TaskQueues, and no others."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pika
import pytest

from longshore_operator.adapters.management.api import Management
from longshore_operator.adapters.rabbitmq.link import RabbitMQ
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.rosters import DEAD, JOBS, ROSTERS
from longshore_operator.core.rabbitmq.topology import Topology
from tests.integration.operator.brokers import opened
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import Tenants, made, until

WIDE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\.[a-z0-9]([-a-z0-9]*[a-z0-9])?"


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


async def in_force(operating: Operating, queue: str) -> str | None:
    """The policy that a queue is under."""
    return (await operating.session.management.inventory()).states[queue].policy


FOREIGN = ("orders.created", "orders.created.dead", "media.uploads", "media.uploads.dead")


@pytest.mark.parametrize("queue", FOREIGN)
async def test_a_quorum_queue_of_somebody_elses_keeps_its_own_policy(
    operating: Operating, queue: str
) -> None:
    vhost = operating.session.address.vhost
    theirs = {"pattern": "^(orders|media.uploads)", "priority": 1, "apply-to": "queues"}
    await operating.put("policies", vhost, "theirs", **theirs, definition={"delivery-limit": 3})
    operating.declare(queue, queue_type="quorum")
    assert await in_force(operating, queue) == "theirs"

    await operating.ready(made())
    await operating.ready(made("uploads-of-others", created="2026-01-02T00:00:00Z"))
    operating.declare(f"later.{queue}", queue_type="quorum")
    operating.declare("media.later", queue_type="quorum")

    assert await in_force(operating, queue) == "theirs"
    assert await in_force(operating, "media.later") is None
    assert await in_force(operating, "media.transcode.dead") == DEAD


async def test_a_queue_has_its_policy_from_its_first_moment(
    operating: Operating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rejected job would be lost otherwise."""
    management = type(opened(operating.session).management)
    listed_when_declared: list[bool] = []
    create, apply = management.create, management.apply

    async def seen(topology: Topology) -> None:
        if topology.queues:
            inventory = await operating.session.management.inventory()
            names = {queue.name for queue in topology.queues} & {"media.transcode"}
            listed_when_declared.append(names <= set(inventory.listed(JOBS)))

    async def creating(self: Management, topology: Topology) -> None:
        await seen(topology)
        await create(self, topology)

    async def applying(self: Management, topology: Topology) -> None:
        await seen(topology)
        await apply(self, topology)

    monkeypatch.setattr(management, "create", creating)
    monkeypatch.setattr(management, "apply", applying)

    await operating.ready(made())

    assert listed_when_declared == [True]


async def test_many_task_queues_share_few_changes(
    operating: Operating, monkeypatch: pytest.MonkeyPatch
) -> None:
    management, written = type(opened(operating.session).management), list[str]()
    apply = management.apply

    async def applying(self: Management, topology: Topology) -> None:
        written.extend(policy.name for policy in topology.policies if policy.name in ROSTERS)
        await apply(self, topology)

    monkeypatch.setattr(management, "apply", applying)
    many = [made(f"work-{number}") for number in range(40)]
    operating.apply(*many)
    await asyncio.gather(*map(operating.settled, many))

    inventory = await operating.session.management.inventory()
    expected = {each.owner.queue for each in many}
    assert inventory.listed(JOBS) == inventory.listed(DEAD) == expected
    assert len(written) < 20, "each round writes two"


async def test_a_queue_that_is_gone_is_struck_from_the_roster(operating: Operating) -> None:
    await operating.ready(made())
    await operating.ready(made("other"))
    operating.queues.pop(("media", "other"))
    for name in ("media.other", "media.other.dead"):
        await operating.session.management.delete_queue(name)

    async def struck() -> bool:
        policies = await operating.session.management.policies()
        return not any("other" in policies[roster].pattern for roster in ROSTERS)

    await until(struck, within=30)
    operating.declare("media.other.dead", queue_type="quorum")
    assert await in_force(operating, "media.other.dead") is None
    assert await in_force(operating, "media.transcode.dead") == DEAD


async def test_a_queue_that_stays_without_its_task_queue_keeps_its_policy(
    operating: Operating,
) -> None:
    by_consumer = operating.session.features.ack_timeout_by_consumer
    await operating.ready(made())
    operating.queues.pop(("media", "transcode"))
    operating.session.doubt()

    await operating.ready(made("other"))
    for _ in range(3):
        inventory = await operating.session.inventory(max_age=0)
        await operating.session.rosters.tend(inventory, claimed=set())

    assert await in_force(operating, "media.transcode.dead") == DEAD
    if by_consumer:
        assert await in_force(operating, "media.transcode") == JOBS


async def test_the_wide_patterns_of_an_earlier_release_give_way_to_names(
    session: Session, link: RabbitMQ
) -> None:
    operating = Operating(session)
    tenants = Tenants(session, operating.kubernetes)
    await tenants.reconcile(made())
    await tenants.reconcile(made("kept"))
    for roster, end in ((JOBS, "$"), (DEAD, r"\.dead$")):
        wide = QueuePolicy(
            name=roster, pattern=WIDE + end, priority=1000, definition=ROSTERS[roster].definition
        )
        await session.management.apply(Topology(policies=(wide,)))
    operating.declare("orders.created", queue_type="quorum")
    operating.declare("orders.created.dead", queue_type="quorum")
    assert await in_force(operating, "orders.created") == JOBS

    await session.rosters.tend(await session.inventory(max_age=0))

    assert await in_force(operating, "orders.created") is None
    assert await in_force(operating, "orders.created.dead") is None
    for name in ("media.transcode.dead", "media.kept.dead"):
        assert await in_force(operating, name) == DEAD


async def test_a_stranger_under_our_name_is_refused_and_not_touched(operating: Operating) -> None:
    operating.declare("media.transcode", queue_type="quorum", max_length=5)

    found = await operating.refused(made())

    assert found.reason == "QueueDiffers"
    assert await in_force(operating, "media.transcode") is None


async def test_a_message_that_somebody_else_rejects_goes_where_their_policy_says(
    operating: Operating,
) -> None:
    vhost = operating.session.address.vhost
    theirs = {"pattern": r"^orders\.created", "priority": 10, "apply-to": "queues"}
    to = {"dead-letter-exchange": "", "dead-letter-routing-key": "orders.failed"}
    await operating.put("policies", vhost, "theirs", **theirs, definition=to)
    await operating.ready(made())
    for queue in ("orders.created", "orders.failed"):
        operating.declare(queue, queue_type="quorum")
    connection = operating.administrator()
    channel = connection.channel()
    channel.basic_publish("", "orders.created", b"an order", pika.BasicProperties(delivery_mode=2))

    async def rejected() -> bool:
        method, _, _ = channel.basic_get("orders.created")
        if method is not None:
            channel.basic_nack(method.delivery_tag, requeue=False)
        return method is not None

    async def failed() -> bool:
        return bool(channel.queue_declare("orders.failed", passive=True).method.message_count)

    await until(rejected, within=10)
    await until(failed, within=10)
    connection.close()


async def test_a_new_session_writes_no_policy_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    operating = Operating(session)
    queues = [made(f"work-{number}") for number in range(5)]
    async with operating.running():
        for each in queues:
            await operating.ready(each)
    before = await session.management.policies()
    management, written = type(opened(session).management), list[str]()
    write = management._write

    async def writing(self: Management, method: str, *path: str, body: Mapping[str, Any]) -> None:
        written.append(" ".join((method, *path)))
        await write(self, method, *path, body=body)

    monkeypatch.setattr(management, "_write", writing)
    again = replace(session)
    await again.rosters.tend(await again.inventory(max_age=0))
    after = Operating(again, kubernetes=operating.kubernetes)
    async with after.running():
        for each in queues:
            await after.ready(each)

    assert written == []
    assert await again.management.policies() == before
