"""RabbitMQ 4.0 and 4.3 of three nodes: what each says, and what the operator makes of it."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from dev.trio import Trio
from longshore_operator.adapters.management.api import Management
from longshore_operator.adapters.rabbitmq import scrutiny
from longshore_operator.app.sessions.declaring import declare
from longshore_operator.core.rabbitmq.depth import Count, Depth
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.topology import Topology, dead_binding, vhost_topology
from longshore_operator.errors import OperatorError, Transient
from tests.integration.operator.brokers import opened, reporter
from tests.integration.operator.operating import OneBroker, Operating
from tests.integration.operator.task_queues import Tenants, made, until
from tests.integration.operator.test_sleepers import scaling
from tests.integration.operator.three_nodes import Nodes, counted, delete

pytestmark = pytest.mark.slow


@pytest.fixture
async def nodes(three: Trio) -> AsyncIterator[Nodes]:
    nodes = Nodes(three, f"three-{uuid.uuid4().hex[:12]}")
    yield nodes
    await nodes.close()


async def test_every_node_gives_the_leaders_count_whoever_leads(nodes: Nodes) -> None:
    tenants = await nodes.tenants(0)
    queues = [made(f"t{number}") for number in range(3)]
    for number, queue in enumerate(queues):
        await nodes.led_by(number, tenants, queue)
        nodes.publish(0, queue.source, count=5)
    names = [queue.source for queue in queues]

    for number in range(3):
        link = await nodes.link(number)
        depths = await link.depths.read(names)
        inventory = await link.management.inventory()

        async def is_counted(management: Management = link.management) -> bool:
            counts = [await management.count(name) for name in names]
            return counts == [Count(consumers=0, jobs=5)] * 3

        assert depths == dict.fromkeys(names, Depth(ready=5, consumers=0))
        assert all(inventory.answers(name) and name in inventory.states for name in names)
        await until(is_counted, within=30)


async def test_a_deletion_keeps_jobs_whichever_node_is_asked(nodes: Nodes) -> None:
    first = await nodes.tenants(0)
    tenants = [first, await nodes.tenants(1), await nodes.tenants(2)]
    kinds = ("full", "empty", "dead")
    queues = {(kind, asked): made(f"{kind}{asked}") for kind in kinds for asked in range(3)}
    for (kind, asked), queue in queues.items():
        # Never led by the node that is asked.
        await nodes.led_by((asked + 1) % 3, first, queue)
        await tenants[asked].session.inventory(max_age=0)
        if kind != "empty":
            nodes.publish(0, queue.source, count=5, dead=kind == "dead")

    await asyncio.gather(*(delete(tenants[asked], queue) for (_, asked), queue in queues.items()))

    left = {key: await nodes.jobs(0, queue.source) for key, queue in queues.items()}
    dead = {key: await nodes.jobs(0, f"{queue.source}.dead") for key, queue in queues.items()}
    assert left == {key: 5 if key[0] == "full" else None for key in queues}
    assert dead == {key: {"full": 0, "empty": None, "dead": 5}[key[0]] for key in queues}


async def test_a_leader_that_counts_once_a_minute_loses_no_job(nodes: Nodes) -> None:
    tenants = await nodes.tenants(0)
    ready, unacked = made("ready"), made("unacked")
    for node in nodes.trio.nodes:
        await asyncio.to_thread(
            node.ctl, "eval", "application:set_env(rabbit, quorum_tick_interval, 60000)."
        )
    try:
        for queue in (ready, unacked):
            await nodes.led_by(1, tenants, queue)
            nodes.publish(0, queue.source, count=5)
    finally:
        for node in nodes.trio.nodes:
            await asyncio.to_thread(
                node.ctl, "eval", "application:set_env(rabbit, quorum_tick_interval, 5000)."
            )
    channel = nodes.channel(2)
    for _ in range(5):
        assert channel.basic_get(unacked.source)[0] is not None

    await asyncio.gather(delete(tenants, ready), delete(tenants, unacked))
    channel.connection.close()

    await counted(tenants.session, ready.source, jobs=5)
    await counted(tenants.session, unacked.source, jobs=5)


async def test_dead_letters_on_their_way_keep_the_queue(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrutiny, "MOVE_WITHIN", 2.0)
    tenants = await nodes.tenants(0)
    queue = made()
    await nodes.led_by(1, tenants, queue)
    management = opened(tenants.session).management
    await management.unbind(dead_binding(queue.source))  # so it cannot arrive
    nodes.publish(0, queue.source)
    channel = nodes.channel(2)
    method, _, _ = channel.basic_get(queue.source)
    assert method is not None
    channel.basic_nack(method.delivery_tag, requeue=False)
    await counted(tenants.session, queue.source, jobs=0)

    await delete(tenants, queue)
    channel.connection.close()

    assert tenants.kubernetes.events == ["QueueRetained"]
    count = await management.count(queue.source)
    assert count is not None
    assert count.jobs == 1


async def test_one_node_less_changes_nothing(nodes: Nodes) -> None:
    tenants = await nodes.tenants(0)
    full, empty, spec = made("full"), made("empty"), made("spec")
    for queue in (full, empty, spec):
        await nodes.led_by(1, tenants, queue)
    nodes.publish(0, full.source, count=5)

    await asyncio.to_thread(nodes[1].kill)

    await counted(tenants.session, full.source, jobs=5)
    tenants.session.doubt()
    assert await declare(vhost_topology(), session=tenants.session) == Topology()
    assert (await tenants.session.inventory()).answers(full.source)
    await tenants.reconcile(spec)
    await asyncio.gather(delete(tenants, full), delete(tenants, empty))
    assert await nodes.jobs(0, full.source) == 5
    assert await nodes.jobs(2, empty.source) is None
    assert {message.partition(" holds")[0] for message in tenants.kubernetes.messages} == {
        f"queue {full.source}"
    }


async def test_without_a_quorum_nothing_is_known_written_or_deleted(nodes: Nodes) -> None:
    tenants = await nodes.tenants(0)
    queues = [made(f"t{number}") for number in range(3)]
    for number, queue in enumerate(queues):
        await nodes.led_by(number, tenants, queue)
        nodes.publish(0, queue.source, count=5 if number else 0)
    wanted = (await inventory_of(tenants)).queues

    await asyncio.gather(*(asyncio.to_thread(nodes[number].kill) for number in (1, 2)))

    async def is_silent() -> bool:
        tenants.session.doubt()
        await tenants.session.inventory()
        return not any(tenants.session.answers(queue.source) for queue in queues)

    await until(is_silent, within=30)
    assert (await inventory_of(tenants)).queues == wanted, "a queue seems to be gone"
    for queue in queues:
        with pytest.raises(OperatorError) as refused:
            await delete(tenants, queue)
        assert refused.value.reason in ("QuorumLost", "Unreachable", "ManagementFailed")
    if nodes.trio.nodes[0].series.name != "4.0":
        # Its metadata has lost its quorum as well: 541 INTERNAL_ERROR, after a while.
        with pytest.raises(Transient) as cut_off:
            await (await nodes.link(0)).listen()
        assert cut_off.value.reason == "Unreachable"

    await nodes.restore()

    session = (again := await nodes.tenants(0)).session
    for number, queue in enumerate(queues):
        await counted(session, queue.source, jobs=5 if number else 0)
    await asyncio.gather(*(delete(again, queue) for queue in queues))
    left = [await nodes.jobs(0, queue.source) for queue in queues]
    assert left == [None, 5, 5]


async def test_a_queue_without_a_quorum_is_not_ready_within_fifteen_seconds_and_again_with_it(
    nodes: Nodes,
) -> None:
    """Also one without workers and jobs, of which nothing else would tell."""
    operating = Operating(session := await nodes.session(0))
    queue = made()
    async with operating.running():
        await operating.ready(queue)
        await asyncio.to_thread(nodes.move, queue.source, to=0)
        async with asyncio.TaskGroup() as group:
            scaler = scaling(operating, session, interval=1.0)
            statuses = reporter(
                OneBroker(session),
                world=operating.world,
                kubernetes=operating.kubernetes,
                reconciled=operating.reconciler.seen,
                scaled=scaler.seen,
            )
            loops = [group.create_task(each.run()) for each in (scaler, statuses)]

            def ready(reason: str) -> Callable[[], Awaitable[bool]]:
                async def is_said() -> bool:
                    # The Broker's own are among them.
                    statuses = operating.kubernetes.statuses
                    told = [each["conditions"][0] for each in statuses if "queue" in each]
                    return bool(told) and (told[-1]["type"], told[-1]["reason"]) == (
                        "Ready",
                        reason,
                    )

                return is_said

            await until(ready("Ready"), within=30)
            await asyncio.gather(*(asyncio.to_thread(nodes[number].kill) for number in (1, 2)))
            await until(ready("QuorumLost"), within=15)
            assert "QuorumLost" in operating.kubernetes.events

            await nodes.restore()
            await until(ready("Ready"), within=60)
            for loop in loops:
                loop.cancel()


async def test_a_queue_that_another_node_leads_is_taken_over_and_given_back(nodes: Nodes) -> None:
    operating = Operating(await nodes.session(0))
    operating.declare("orders", queue_type="quorum")
    nodes.move("orders", to=2)
    queue = made(queue={"name": "orders", "type": "Quorum"})
    async with operating.running():
        await operating.ready(queue)
    nodes.publish(1, queue.owner.queue, count=3)

    tenants = Tenants(await nodes.session(1), operating.kubernetes)
    await delete(tenants, queue)

    assert await nodes.jobs(0, "orders") == 3
    inventory = await inventory_of(tenants)
    assert not [each for each in inventory.bindings if each.source and each.destination == "orders"]
    assert f"{queue.owner.queue}.dead" not in inventory.queues


async def test_what_is_deleted_by_hand_at_another_node_is_back_within_ten_seconds(
    nodes: Nodes,
) -> None:
    operating = Operating(await nodes.session(0))
    queue = made(queue={"maxLength": 7})
    async with operating.running():
        await operating.ready(queue)
        other = (await nodes.link(1)).management
        policies = (await other.inventory()).policies
        for name in [name for name in policies if queue.owner.queue in name]:
            await other.delete_policy(name)
        await other.delete_queue(f"{queue.source}.dead")
        began = time.monotonic()

        async def is_back() -> bool:
            found = await other.inventory()
            return policies.keys() <= found.policies.keys() and (
                f"{queue.source}.dead" in found.queues
            )

        await until(is_back, within=20)
    assert time.monotonic() - began <= 10


async def inventory_of(tenants: Tenants) -> Inventory:
    return await tenants.session.management.inventory()
