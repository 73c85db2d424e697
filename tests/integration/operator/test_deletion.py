import dataclasses

import pika
import pytest

from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE
from longshore_operator.api.v1alpha1 import DerivedTimeouts, TaskQueueStatus
from longshore_operator.app.broker import Depth, Session
from longshore_operator.app.deletion import GIVE_UP_AFTER, Deletion
from longshore_operator.app.objects import TaskQueueObject
from longshore_operator.app.record import Records
from longshore_operator.app.world import World
from longshore_operator.core.pods import Trouble
from longshore_operator.core.topology import entry_bindings
from longshore_operator.errors import Transient
from tests.integration.operator.task_queues import Tenants, made


class OneBroker:
    """Brokers with one session, or with none and a trouble."""

    def __init__(self, session: Session | None, trouble: str = "Unreachable") -> None:
        self._session, self._trouble = session, trouble

    def session(self, name: str) -> Session | None:
        return self._session

    def trouble(self, name: str) -> Trouble:
        return Trouble(reason=self._trouble, message="")


@pytest.fixture
def tenants(session: Session) -> Tenants:
    return Tenants(session)


async def delete(
    tenants: Tenants,
    queue: TaskQueueObject,
    *,
    brokers: OneBroker | None = None,
    records: Records | None = None,
    clock: float = 0.0,
) -> None:
    deletion = Deletion(
        world=World(),
        brokers=brokers or OneBroker(tenants.session),
        cluster=tenants.kubernetes,
        records=records or Records(now=lambda: 0),
        clock=lambda: clock,
    )
    await deletion.delete(dataclasses.replace(queue, is_deleting=True))


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
    queue, records, away = declared(), Records(now=lambda: 0), OneBroker(None)

    for clock in (100, 99 + GIVE_UP_AFTER):
        with pytest.raises(Transient):
            await delete(tenants, queue, brokers=away, records=records, clock=clock)
    await delete(tenants, queue, brokers=away, records=records, clock=100 + GIVE_UP_AFTER)

    assert tenants.kubernetes.events == ["QueueAbandoned"]


async def test_a_broker_that_is_still_being_connected_to_is_waited_for(tenants: Tenants) -> None:
    """An operator that was away for long must not give up before it has even looked."""
    records, connecting = Records(now=lambda: 0), OneBroker(None, "Connecting")

    for clock in (0, 10 * GIVE_UP_AFTER):
        with pytest.raises(Transient):
            await delete(tenants, declared(), brokers=connecting, records=records, clock=clock)


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


def declared() -> TaskQueueObject:
    """As an operator finds it that was started after the queue had been declared."""
    limits = DerivedTimeouts(
        hard_limit=60, gone=65, ack_timeout=300, prefetch=1, termination_grace=95
    )
    return dataclasses.replace(made(), status=TaskQueueStatus(timeouts=limits))
