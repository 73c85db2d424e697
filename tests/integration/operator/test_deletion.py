import asyncio
import dataclasses
import threading
from typing import Any

import pika
import pika.exceptions
import pytest

from longshore.contract.delays import route
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE, LOST
from longshore_operator.api.v1alpha1 import DerivedTimeouts, TaskQueueStatus
from longshore_operator.app.reconciling.deletion import GIVE_UP_AFTER, LOOK_AGAIN, Deletion, Stuck
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.rabbitmq.topology import Binding, entry_bindings
from longshore_operator.errors import Transient
from tests.integration.operator.brokers import opened
from tests.integration.operator.operating import OneBroker, reconciliations
from tests.integration.operator.task_queues import JSON_JOB, Tenants, made, until


@pytest.fixture
def tenants(session: Session) -> Tenants:
    return Tenants(session)


def unhindered() -> States[Stuck]:
    return States(new=lambda _: Stuck())


async def delete(
    tenants: Tenants,
    queue: TaskQueueObject,
    *,
    brokers: OneBroker | None = None,
    stuck: States[Stuck] | None = None,
    clock: float = 0.0,
) -> None:
    deletion = Deletion(
        world=World(),
        brokers=brokers or OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        workloads=tenants.kubernetes.workloads(),
        states=reconciliations(),
        stuck=stuck or unhindered(),
        clock=lambda: clock,
    )
    queue = dataclasses.replace(queue, is_deleting=True)
    tenants.kubernetes.task_queues[queue.owner.namespace, queue.owner.name] = queue
    await deletion.delete(queue)


async def left(tenants: Tenants) -> set[str]:
    """What is still there of the TaskQueue."""
    vhost = tenants.session.address.vhost
    queues = await tenants.get("queues", vhost)
    users = await tenants.get("users")
    return {queue["name"] for queue in queues if queue["name"].startswith("media.")} | {
        "user" for user in users if user["name"].startswith(f"{vhost}.")
    }


async def test_an_empty_queue_goes_with_its_task_queue(tenants: Tenants) -> None:
    queue = made(queue={"maxLength": 9})
    await tenants.reconcile(queue)

    await delete(tenants, queue)

    assert await left(tenants) == set()
    inventory = await tenants.session.management.inventory()
    assert not [name for name in inventory.policies if name.startswith("longshore.own.")]


async def test_a_queue_with_jobs_stays_open_to_those_that_are_on_their_way(
    tenants: Tenants,
) -> None:
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")
    await delete(tenants, queue)

    assert await left(tenants) == {"media.transcode", "media.transcode.dead"}
    assert tenants.kubernetes.events == ["QueueRetained"]
    await tenants.reconcile(queue)  # a TaskQueue of the same name takes it up again
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")
    found = await tenants.session.link.depths.read(["media.transcode"])
    assert found["media.transcode"] == Depth(ready=2, consumers=0)


async def test_a_job_in_a_workers_hands_keeps_the_queue(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")
    where = tenants.session.address
    url = where.amqp_url(username=where.username, password=where.password)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    method, _, _ = connection.channel().basic_get("media.transcode")
    assert method is not None

    await delete(tenants, queue)
    connection.close()

    assert "media.transcode" in await left(tenants)


async def test_dead_letters_outlive_an_empty_queue(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=DEAD_EXCHANGE, key="media.transcode", role="worker")

    await delete(tenants, queue)

    assert await left(tenants) == {"media.transcode.dead"}


async def test_retain_keeps_even_an_empty_queue(tenants: Tenants) -> None:
    queue = made(deletionPolicy="Retain")
    await tenants.reconcile(queue)

    await delete(tenants, queue)

    assert await left(tenants) == {"media.transcode", "media.transcode.dead"}


async def test_delete_takes_everything_away(tenants: Tenants) -> None:
    queue = made(deletionPolicy="Delete")
    await tenants.reconcile(queue)
    for exchange, role in ((JOBS_EXCHANGE, "producer"), (DEAD_EXCHANGE, "worker")):
        tenants.publish(queue, exchange=exchange, key="media.transcode", role=role)

    await delete(tenants, queue)

    assert await left(tenants) == set()


async def test_deleting_twice_is_no_error(tenants: Tenants) -> None:
    queue = made(deletionPolicy="Delete")
    await tenants.reconcile(queue)
    await delete(tenants, queue)

    await delete(tenants, queue)

    assert await left(tenants) == set()


async def test_a_broker_that_does_not_answer_holds_the_deletion_up_but_not_for_ever(
    tenants: Tenants,
) -> None:
    queue, stuck, away = declared(), unhindered(), OneBroker(None)

    for clock in (100, 99 + GIVE_UP_AFTER):
        with pytest.raises(Transient):
            await delete(tenants, queue, brokers=away, stuck=stuck, clock=clock)
    await delete(tenants, queue, brokers=away, stuck=stuck, clock=100 + GIVE_UP_AFTER)

    assert tenants.kubernetes.events == ["QueueAbandoned"]


async def test_trouble_that_had_passed_does_not_count(tenants: Tenants) -> None:
    """A blip, an hour of draining, one more blip: that is no trouble of an hour."""
    queue, stuck, away = declared(), unhindered(), OneBroker(None)

    for clock in (100, 100 + 3600):
        with pytest.raises(Transient):
            await delete(tenants, queue, brokers=away, stuck=stuck, clock=clock)

    assert tenants.kubernetes.events == []


async def test_a_deletion_policy_that_changes_while_workers_drain_is_followed(
    tenants: Tenants,
) -> None:
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")
    pod = Pod(name="p", uid="p", running=True, ready=True, ending=True)
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            changed = made(deletionPolicy="Delete", generation=2)
            tenants.kubernetes.task_queues["media", "transcode"] = changed

    tenants.kubernetes.task_queues["media", "transcode"] = queue
    world = World(all_pods={("media", "transcode"): [pod]})
    deletion = Deletion(
        world=world,
        brokers=OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        workloads=tenants.kubernetes.workloads(world),
        states=reconciliations(),
        clock=lambda: 0.0,
        sleep=sleep,
    )
    await deletion.delete(dataclasses.replace(queue, is_deleting=True))

    assert len(slept) <= 2 + LOOK_AGAIN
    assert await left(tenants) == set()


async def test_a_worker_that_is_not_shown_to_run_yet_is_waited_for(tenants: Tenants) -> None:
    """It may hold a job: a kubelet that is busy tells late of what it has started."""
    queue = made()
    await tenants.reconcile(queue)
    tenants.kubernetes.task_queues["media", "transcode"] = queue
    world = World()
    seen: list[bool] = []

    def show(**pod: Any) -> None:
        world.all_pods = {("media", "transcode"): [Pod(name="p", uid="p", ready=False, **pod)]}

    async def pass_on(_: float) -> None:
        seen.append("user" in await left(tenants))
        if len(seen) == 5:
            show(running=True, ending=True)
        if len(seen) == 9:
            world.all_pods = {}

    show(running=False, ending=True)
    deletion = Deletion(
        world=world,
        brokers=OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        workloads=tenants.kubernetes.workloads(world),
        states=reconciliations(),
        clock=lambda: 0.0,
        sleep=pass_on,
    )
    await deletion.delete(dataclasses.replace(queue, is_deleting=True))

    assert seen[:9] == [True] * 9


async def test_one_of_the_same_name_that_came_meanwhile_is_left_alone(tenants: Tenants) -> None:
    """Somebody removed the finalizer while workers drained, and applied the manifest anew."""
    queue = made()
    await tenants.reconcile(queue)
    pod = Pod(name="p", uid="p", running=True, ready=True, ending=True)
    other = dataclasses.replace(queue, owner=dataclasses.replace(queue.owner, uid="another"))
    tenants.kubernetes.task_queues["media", "transcode"] = other
    world = World(all_pods={("media", "transcode"): [pod]})
    deletion = Deletion(
        world=world,
        brokers=OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        workloads=tenants.kubernetes.workloads(world),
        states=reconciliations(),
        clock=lambda: 0.0,
        sleep=_no_time,
    )
    await deletion.delete(dataclasses.replace(queue, is_deleting=True))

    assert await left(tenants) == {"media.transcode", "media.transcode.dead", "user"}


async def test_one_that_goes_by_itself_while_its_queue_is_closed_leaves_it_open(
    tenants: Tenants,
) -> None:
    queue = made()
    await tenants.reconcile(queue)
    before = await tenants.session.management.inventory()
    kubernetes = tenants.kubernetes
    kubernetes.task_queues["media", "transcode"] = queue

    async def replaced(_: float) -> None:
        owner = dataclasses.replace(queue.owner, uid="another")
        kubernetes.task_queues["media", "transcode"] = dataclasses.replace(queue, owner=owner)

    deletion = Deletion(
        world=World(),
        brokers=OneBroker(tenants.session),
        cluster=kubernetes,
        workloads=kubernetes.workloads(),
        states=reconciliations(),
        clock=lambda: 0.0,
        sleep=replaced,
    )
    await deletion.delete(dataclasses.replace(queue, is_deleting=True))

    after = await tenants.session.management.inventory()
    assert (after.queues, after.bindings) == (before.queues, before.bindings)


async def _no_time(_: float) -> None:
    """Pass."""


@pytest.mark.parametrize("policy", ["Delete", "RetainIfNotEmpty", "nonsense"])
async def test_a_task_queue_whose_spec_cannot_be_read_any_more_is_cleaned_up(
    tenants: Tenants, policy: str
) -> None:
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")
    broken = made(
        deletionPolicy=policy,
        scaling={"windows": [{"cron": "0 25 * * *", "duration": "1h", "max": 1}]},
    )
    assert broken.spec is None
    status = dataclasses.replace(broken, status=declared().status)

    await delete(tenants, status)

    kept = set() if policy == "Delete" else {"media.transcode", "media.transcode.dead"}
    assert await left(tenants) == kept


async def test_a_queue_that_has_become_empty_a_moment_ago_goes(tenants: Tenants) -> None:
    """RabbitMQ's own count still has the job that has just ended."""
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")

    async def is_counted() -> bool:
        count = await opened(tenants.session).management.count("media.transcode")
        return count is not None and count.jobs == 1

    await until(is_counted, within=30)
    where = tenants.session.address
    url = where.amqp_url(username=where.username, password=where.password)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    assert connection.channel().basic_get("media.transcode", auto_ack=True)[0] is not None
    connection.close()

    await delete(tenants, queue)

    assert await left(tenants) == set()


@pytest.mark.parametrize("policy", ["Delete", "RetainIfNotEmpty"])
async def test_a_queue_that_all_share_is_nobodys_to_delete(tenants: Tenants, policy: str) -> None:
    await delete(tenants, made("lost", namespace="longshore", deletionPolicy=policy))

    assert await tenants.session.management.has_queue(LOST)
    assert "shared" in tenants.kubernetes.messages[0]


async def test_a_broker_that_is_still_being_connected_to_is_waited_for(tenants: Tenants) -> None:
    """An operator that was away for long must not give up before it has even looked."""
    stuck, connecting = unhindered(), OneBroker(None, "Connecting")

    for clock in (0, 10 * GIVE_UP_AFTER):
        with pytest.raises(Transient):
            await delete(tenants, declared(), brokers=connecting, stuck=stuck, clock=clock)


async def test_a_retained_queue_that_an_earlier_try_had_closed_is_open_again(
    tenants: Tenants,
) -> None:
    queue = made()
    await tenants.reconcile(queue)
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode", role="producer")
    for binding in entry_bindings("media.transcode"):
        await tenants.session.management.unbind(binding)

    await delete(tenants, queue)
    tenants.session.doubt()

    inventory = await tenants.session.inventory()
    assert set(entry_bindings("media.transcode")) <= set(inventory.bindings)


async def test_without_its_broker_a_task_queue_goes_at_once(tenants: Tenants) -> None:
    await delete(tenants, declared(), brokers=OneBroker(None, "BrokerNotFound"))

    assert tenants.kubernetes.events == ["QueueAbandoned"]


async def test_a_task_queue_whose_broker_was_never_reached_goes_without_a_word(
    tenants: Tenants,
) -> None:
    await delete(tenants, made(), brokers=OneBroker(None, "Refused"))

    assert tenants.kubernetes.events == []


class Publisher:
    """Somebody who goes on publishing, whatever happens to users and bindings."""

    def __init__(self, tenants: Tenants) -> None:
        where = tenants.session.address
        url = where.amqp_url(username=where.username, password=where.password)
        self._connection = pika.BlockingConnection(pika.URLParameters(f"{url}?heartbeat=0"))
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self.confirmed = self.refused = 0

    def publish(self) -> None:
        try:
            self._channel.basic_publish(
                JOBS_EXCHANGE, "media.transcode", b"{}", JSON_JOB, mandatory=True
            )
        except pika.exceptions.UnroutableError:
            self.refused += 1
        else:
            self.confirmed += 1

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("moment", ["always", "before it is closed", "while it is closed"])
async def test_no_job_that_was_confirmed_goes_with_its_queue(tenants: Tenants, moment: str) -> None:
    queue = made()
    await tenants.reconcile(queue)
    publisher = Publisher(tenants)
    unbind, ended = tenants.session.management.unbind, threading.Event()

    async def unbind_late(binding: Binding) -> None:
        if moment == "before it is closed" and not publisher.confirmed:
            await asyncio.to_thread(publisher.publish)
        await unbind(binding)

    async def sleep(seconds: float) -> None:
        if moment == "while it is closed":
            await asyncio.to_thread(publisher.publish)
        await asyncio.sleep(seconds)

    def go_on() -> None:
        while not ended.wait(0.01):
            publisher.publish()

    tenants.session.management.unbind = unbind_late  # type: ignore[method-assign]  # on purpose
    publishing = asyncio.create_task(asyncio.to_thread(go_on)) if moment == "always" else None
    deletion = Deletion(
        world=World(),
        brokers=OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        workloads=tenants.kubernetes.workloads(),
        states=reconciliations(),
        clock=lambda: 0.0,
        sleep=sleep,
    )

    async def is_confirmed() -> bool:
        return publisher.confirmed > 0

    if publishing:
        await until(is_confirmed)
    tenants.kubernetes.task_queues["media", "transcode"] = queue
    try:
        await deletion.delete(dataclasses.replace(queue, is_deleting=True))
    finally:
        ended.set()
        if publishing:
            await publishing
        publisher.close()

    async def look() -> Depth | Missing:
        return (await tenants.session.link.depths.read(["media.transcode"]))["media.transcode"]

    async def are_all_kept() -> bool:
        found = await look()
        return isinstance(found, Missing) or found.ready == publisher.confirmed

    await until(are_all_kept)  # what was looked at comes back a moment after its connection's end
    found = await look()
    kept = found.ready if isinstance(found, Depth) else 0
    assert kept == publisher.confirmed
    assert publisher.confirmed + publisher.refused > 0
    assert isinstance(found, Depth) is (moment != "while it is closed")


async def test_a_queue_of_somebody_elses_under_our_name_stays(tenants: Tenants) -> None:
    where = tenants.session.address
    url = where.amqp_url(username=where.username, password=where.password)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare("media.transcode", durable=True)
    connection.close()
    tenants.session.doubt()

    await delete(tenants, made(deletionPolicy="Delete"))

    assert await left(tenants) == {"media.transcode"}
    assert "somebody else" in tenants.kubernetes.messages[0]


async def test_delayed_jobs_are_told_of_since_nobody_knows_whose_they_are(
    tenants: Tenants,
) -> None:
    queue = made()
    await tenants.reconcile(queue)
    exchange, key = route("media.transcode", delay=3600)
    tenants.publish(queue, exchange=exchange, key=key)

    await delete(tenants, queue)

    assert tenants.kubernetes.events == ["DelayedJobsUnknown"]
    assert "1 delayed jobs" in tenants.kubernetes.messages[0]
    assert LOST in tenants.kubernetes.messages[0]


def declared() -> TaskQueueObject:
    """As an operator finds it that was started after the queue had been declared."""
    limits = DerivedTimeouts(
        hard_limit=60, gone=65, ack_timeout=300, prefetch=1, termination_grace=95
    )
    return dataclasses.replace(made(), status=TaskQueueStatus(timeouts=limits))
