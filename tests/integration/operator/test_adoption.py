"""A TaskQueue takes over a queue that is there already, and leaves it as it is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from longshore.contract.names import JOBS_EXCHANGE
from longshore_operator.app.reconciling.deletion import Deletion
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.core.kubernetes.workload import worker_config
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.rabbitmq.topology import Topology
from tests.integration.operator.operating import OneBroker, Operating
from tests.integration.operator.task_queues import Tenants, made, until
from tests.integration.worker.workers import Bench, elsewhere


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


def adopting(name: str, *, type: str = "Classic", **parts: Any) -> TaskQueueObject:
    return made(queue={"name": name, "type": type, **parts})


def publish(operating: Operating, task_queue: TaskQueueObject) -> None:
    tenants = Tenants(operating.session, operating.kubernetes)
    tenants.publish(task_queue, exchange=JOBS_EXCHANGE, key=task_queue.owner.queue)


async def delete(operating: Operating, task_queue: TaskQueueObject) -> None:
    deletion = Deletion(
        world=operating.world,
        brokers=OneBroker(operating.session),
        cluster=operating.kubernetes,
        workloads=operating.workloads,
        states=operating.states,
        clock=lambda: 0.0,
    )
    operating.world.queues = {}
    await deletion.delete(task_queue)


@pytest.mark.parametrize("name", ["celery", "team/orders", "with space", "q-1.0?&#"])
async def test_a_classic_queue_of_celerys_takes_jobs_and_keeps_its_arguments(
    operating: Operating, name: str
) -> None:
    operating.declare(name, max_priority=10)
    before = (await operating.session.management.inventory()).queues[name]
    task_queue = adopting(name)
    name_is_reserved = name.startswith("q-1.")
    if name_is_reserved:
        assert (await operating.refused(task_queue)).reason == "QueueReserved"
        return

    record = await operating.ready(task_queue)
    publish(operating, task_queue)

    found = await operating.session.link.depths.read([name])
    assert found[name] == Depth(ready=1, consumers=0)
    after = await operating.session.management.inventory()
    assert after.queues[name] == before
    assert "media.transcode" not in after.queues
    assert record.wanted
    assert after.missing(record.wanted) == Topology(), "nothing is written the second time"


async def test_a_name_with_the_characters_of_patterns_stands_for_one_queue(
    operating: Operating,
) -> None:
    name = "orders (eu)|v1+.*/x%2F#[a]?$^"
    neighbours = ("orders (eu)", "v1", "v11/x%2F#a", f"{name}x", f"x{name}", name.replace(".", "y"))
    for each in (name, *neighbours):
        operating.declare(each)
    task_queue = adopting(name, maxLength=5)

    await operating.ready(task_queue)

    states = (await operating.session.management.inventory()).states
    assert states[name].policy is not None
    assert {states[each].policy for each in neighbours} == {None}
    publish(operating, task_queue)
    await delete(operating, task_queue)
    after = await operating.session.management.inventory()
    assert after.states[name].policy is None
    assert not [policy for policy in after.policies if policy.startswith("longshore.own.")]


async def test_a_worker_takes_jobs_from_it(operating: Operating, tmp_path: Path) -> None:
    operating.declare("celery")
    task_queue = adopting("celery")
    record = await operating.ready(task_queue)
    assert task_queue.spec
    assert record.timeouts
    config = worker_config(
        queue=task_queue.owner.queue, spec=task_queue.spec, timeouts=record.timeouts, heartbeat=30
    )
    assert config.source == "celery"
    environment = operating.kubernetes.secrets["media", "transcode-worker"]
    bench = Bench(elsewhere(), task_queue.owner.queue, tmp_path)
    connection = operating.administrator()

    def work() -> None:
        bench.broker = elsewhere(connection.channel())
        bench.started(env=environment, source="celery")
        bench.enqueue("write", diary=bench.diary, text="adopted")
        assert bench.wait_lines(1) == ["adopted 1"]

    try:
        await asyncio.to_thread(work)
    finally:
        assert bench.end() == []
        connection.close()


async def test_what_cannot_be_promised_is_said(operating: Operating) -> None:
    operating.declare("celery", expires=3_600_000)
    record = await operating.ready(adopting("celery"))

    async def look() -> tuple[str, ...] | None:
        return record.shortcomings

    said = "; ".join(await until(look, within=30))
    assert "deletes it" in said
    assert "no deliveries" in said
    by_consumer = operating.session.features.ack_timeout_by_consumer
    assert ("no ack timeout" in said) is by_consumer


async def test_a_quorum_queue_under_our_own_name_but_with_other_arguments(
    operating: Operating,
) -> None:
    """The way out that the message of QueueDiffers names."""
    operating.declare("media.transcode", queue_type="quorum", delivery_limit=7)
    found = await operating.refused(made())
    assert found.reason == "QueueDiffers"
    assert "x-delivery-limit" in found.message

    await operating.ready(made("taken", queue={"name": "media.transcode"}, generation=2))


async def test_a_queue_with_other_arguments_that_is_younger_than_the_last_reading(
    operating: Operating,
) -> None:
    await operating.ready(made("other"))
    connection = operating.administrator()
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 7}
    connection.channel().queue_declare("media.transcode", durable=True, arguments=arguments)
    connection.close()

    assert (await operating.refused(made())).reason == "QueueDiffers"


async def test_a_queue_that_is_younger_than_the_last_reading_is_taken_over(
    operating: Operating,
) -> None:
    await operating.ready(made("other"))
    connection = operating.administrator()
    connection.channel().queue_declare("celery", durable=True)
    connection.close()

    await operating.ready(adopting("celery"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("billing.invoice", "QueueReserved"),
        ("billing.invoice.dead", "QueueReserved"),
        ("longshore.lost", "QueueReserved"),
        ("amq.gen-x", "QueueReserved"),
        ("absent", "QueueNotFound"),
        ("a-quorum-queue", "QueueUnfit"),
    ],
)
async def test_a_queue_that_cannot_be_had(operating: Operating, name: str, reason: str) -> None:
    operating.declare("a-quorum-queue", queue_type="quorum")

    found = await operating.refused(adopting(name))

    assert found.reason == reason
    assert name in found.message
    assert not operating.kubernetes.secrets, "a user could read it"


async def test_it_stays_when_its_task_queue_goes(operating: Operating) -> None:
    operating.declare("celery")
    before = await operating.session.management.inventory()
    task_queue = adopting("celery", maxLength=5)
    await operating.ready(task_queue)

    await delete(operating, task_queue)

    after = await operating.session.management.inventory()
    assert (after.queues, after.bindings, after.policies) == (
        before.queues,
        before.bindings,
        before.policies,
    )
    assert operating.kubernetes.events == ["QueueRetained"]


@pytest.mark.parametrize("name", ["billing.invoice", "orders"])
async def test_deleting_a_task_queue_that_never_had_the_queue_does_not_touch_it(
    operating: Operating, name: str
) -> None:
    """Else a tenant could have another's queue deleted by naming it."""
    operating.declare(name, queue_type="quorum")
    wish = made(deletionPolicy="Delete", queue={"name": name, "type": "Classic"})
    await operating.refused(wish)

    await delete(operating, wish)

    found = await operating.session.link.depths.read([name])
    assert found[name] == Depth(ready=0, consumers=0)
    assert operating.kubernetes.messages == [f"queue {name} was not taken over and stays"]


async def test_an_empty_queue_of_the_task_queues_own_name_is_given_back_too(
    operating: Operating,
) -> None:
    """It was there before, whatever it is called."""
    operating.declare("media.transcode", queue_type="quorum")
    task_queue = adopting("media.transcode", type="Quorum")
    await operating.ready(task_queue)

    await delete(operating, task_queue)

    found = await operating.session.link.depths.read(["media.transcode"])
    assert found["media.transcode"] == Depth(ready=0, consumers=0)
    assert "had been taken over" in operating.kubernetes.messages[0]


async def test_delete_takes_it_away_with_its_jobs(operating: Operating) -> None:
    operating.declare("celery")
    task_queue = made(
        deletionPolicy="Delete", queue={"name": "celery", "type": "Classic", "maxLength": 5}
    )
    await operating.ready(task_queue)
    publish(operating, task_queue)

    await delete(operating, task_queue)

    after = await operating.session.management.inventory()
    assert "celery" not in after.queues
    assert not [name for name in after.policies if name.startswith("longshore.own.")]


async def test_deleting_the_second_of_one_queue_does_not_touch_it(operating: Operating) -> None:
    operating.declare("celery")
    first = made("first", queue={"name": "celery", "type": "Classic"})
    await operating.ready(first)
    second = made(
        "second",
        created="2026-02-01T00:00:00Z",
        deletionPolicy="Delete",
        queue={"name": "celery", "type": "Classic"},
    )
    await operating.refused(second)

    deletion = Deletion(
        world=operating.world,
        brokers=OneBroker(operating.session),
        cluster=operating.kubernetes,
        workloads=operating.workloads,
        states=operating.states,
        clock=lambda: 0.0,
    )
    await deletion.delete(second)

    found = await operating.session.link.depths.read(["celery"])
    assert found["celery"] == Depth(ready=0, consumers=0)
    assert operating.kubernetes.messages == ["queue celery belongs to TaskQueue media/first"]
