import dataclasses
from collections.abc import Awaitable

import pika
import pika.exceptions
import pytest

from longshore.contract.delays import route
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE, LOST
from longshore_operator.adapters.management.api import Management
from longshore_operator.adapters.rabbitmq.link import connect
from longshore_operator.api.v1alpha1 import Priorities
from longshore_operator.app.sessions.declaring import declare
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.kubernetes.rollout import rollout
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.rabbitmq.topology import Topology, vhost_topology
from longshore_operator.core.status import priorities
from longshore_operator.errors import Invalid, Transient
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import Tenants, made, until


class Counting:
    """Management that notes every write."""

    def __init__(self, inner: object) -> None:
        self.inner, self.writes = inner, list[str]()

    def __getattr__(self, name: str) -> object:
        if name not in ("inventory", "version", "has_queue"):
            self.writes.append(name)
        return getattr(self.inner, name)


@pytest.fixture
def tenants(session: Session) -> Tenants:
    return Tenants(session)


@pytest.fixture
def counting(session: Session, monkeypatch: pytest.MonkeyPatch) -> Counting:
    counting = Counting(session.link.management)
    monkeypatch.setattr(session.link, "management", counting)
    return counting


async def test_a_second_reconcile_writes_nothing(tenants: Tenants, counting: Counting) -> None:
    queue = made(queue={"maxLength": 9}, deadLetter={"retention": "1h"})
    await tenants.reconcile(queue)
    assert counting.writes
    counting.writes.clear()
    tenants.kubernetes.writes.clear()
    tenants.session.doubt()  # so that it reads what RabbitMQ says, not what was written

    await declare(vhost_topology(), session=tenants.session)
    await tenants.reconcile(queue)

    assert counting.writes == []
    assert tenants.kubernetes.writes == []


async def test_a_new_deployment_starts_with_no_worker(tenants: Tenants) -> None:
    await tenants.reconcile(made())

    assert tenants.kubernetes.deployments["media", "transcode-worker"]["spec"]["replicas"] == 0


async def test_a_lower_max_limits_the_rollout_that_comes_with_it(tenants: Tenants) -> None:
    await tenants.reconcile(made(scaling={"max": 10}))
    deployment = tenants.kubernetes.deployments["media", "transcode-worker"]
    deployment["spec"] |= {"replicas": 5, "strategy": rollout(5, ceiling=10).strategy()}
    tenants.kubernetes.writes.clear()

    image = {"image": "media:2", "handlers": ["media.jobs"]}
    await tenants.reconcile(made(scaling={"max": 5}, worker=image))

    name = "transcode-worker"
    assert tenants.kubernetes.writes == [f"scale {name} to 5", f"deployment {name}"]
    live = tenants.kubernetes.deployments["media", name]["spec"]
    assert live["strategy"] == rollout(5, ceiling=5).strategy()


async def test_a_password_lost_in_rabbitmq_is_set_again_from_the_secret(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)
    url = tenants.url(queue, "producer")
    vhost = tenants.session.address.vhost
    await tenants.session.management.delete_user(f"{vhost}.media.transcode.producer")
    tenants.session.doubt()

    await tenants.reconcile(queue)

    assert tenants.url(queue, "producer") == url
    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")


async def test_policies_are_in_force_and_follow_the_spec(tenants: Tenants) -> None:
    vhost = tenants.session.address.vhost
    by_consumer = tenants.session.features.ack_timeout_by_consumer

    async def policy(queue: str) -> object:
        # Among the statistics the name lags by 7 s; before 4.3 it is nowhere else.
        found = await tenants.get("queues", vhost, f"{queue}?disable_stats={by_consumer}".lower())
        return found.get("policy")

    default = "longshore.jobs" if by_consumer else "longshore.own.media.transcode"
    await tenants.reconcile(made())
    await until(lambda: _is(policy("media.transcode"), default))
    await until(lambda: _is(policy("media.transcode.dead"), "longshore.dead"))

    await tenants.reconcile(made(queue={"maxLength": 9}))
    await until(lambda: _is(policy("media.transcode"), "longshore.own.media.transcode"))

    await tenants.reconcile(made())
    await until(lambda: _is(policy("media.transcode"), default))


async def test_a_full_queue_refuses_jobs(tenants: Tenants) -> None:
    queue = made(queue={"maxLength": 1})
    await tenants.reconcile(queue)

    def fill() -> None:
        for _ in range(20):
            tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")

    with pytest.raises(pika.exceptions.NackError):
        fill()


async def test_a_job_past_its_max_age_becomes_a_dead_letter(tenants: Tenants) -> None:
    queue = made(queue={"maxAge": "200ms"})
    await tenants.reconcile(queue)

    tenants.publish(queue, exchange=JOBS_EXCHANGE, key="media.transcode")

    await until(lambda: _is(ready(tenants, "media.transcode.dead"), 1))


async def test_the_ladder_delays_a_job_and_brings_it_home(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)
    exchange, key = route("media.transcode", delay=3)
    started = tenants.session.clock()

    tenants.publish(queue, exchange=exchange, key=key)
    await until(lambda: _is(ready(tenants, "media.transcode"), 1))

    assert 3.0 <= tenants.session.clock() - started < 6.5


async def test_priorities_are_kept_as_the_status_says(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)
    kept = {
        Priorities.STRICT: [31, 9, 6, 5, 4, 0],
        # All above 4 are one class, in order of arrival; they get two turns of three.
        Priorities.TWO_CLASSES: [5, 9, 0, 31, 6, 4],
    }
    with tenants.channel(queue, "producer") as channel:
        channel.confirm_delivery()
        for priority in (0, 4, 5, 9, 31, 6):
            properties = pika.BasicProperties(priority=priority, delivery_mode=2)
            channel.basic_publish(JOBS_EXCHANGE, "media.transcode", b"{}", properties)
    with tenants.channel(queue, "worker") as channel:
        found = [channel.basic_get("media.transcode")[1].priority for _ in range(6)]
        assert found == kept[priorities(tenants.session.features)]


async def test_delayed_jobs_without_a_queue_are_kept_and_block_nobody(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)
    exchange, astray = route("media.mistyped", delay=1)
    with tenants.channel(queue, "producer") as channel:
        for _ in range(100):  # RabbitMQ's dead-letter worker holds 32 at a time
            channel.basic_publish(exchange, astray, b"{}")
    await until(lambda: _is(ready(tenants, LOST), 100), within=20)

    exchange, key = route("media.transcode", delay=1)
    tenants.publish(queue, exchange=exchange, key=key)

    await until(lambda: _is(ready(tenants, "media.transcode"), 1))


async def test_dead_letters_of_a_worker_reach_their_queue(tenants: Tenants) -> None:
    queue = made()
    await tenants.reconcile(queue)

    tenants.publish(queue, exchange=DEAD_EXCHANGE, key="media.transcode", role="worker")

    await until(lambda: _is(ready(tenants, "media.transcode.dead"), 1))


async def test_a_queue_that_is_not_there_is_missing_and_spoils_no_other(tenants: Tenants) -> None:
    await tenants.reconcile(made())
    names = [f"media.absent-{n}" for n in range(20)] + ["media.transcode"]

    found = await tenants.session.link.depths.read(names)

    assert found["media.transcode"] == Depth(ready=0, consumers=0)
    assert [found[name] for name in names[:-1]] == [Missing()] * 20


async def test_depths_of_a_lost_connection_are_unknown(tenants: Tenants) -> None:
    await tenants.reconcile(made())
    await tenants.session.link.close()

    assert tenants.session.link.is_lost
    assert await tenants.session.link.depths.read(["media.transcode"]) == {}


async def test_a_queue_made_by_somebody_else_is_refused_and_left_alone(tenants: Tenants) -> None:
    where = tenants.session.address
    url = where.amqp_url(username=where.username, password=where.password)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare("media.transcode", durable=True)
    connection.close()
    tenants.session.doubt()

    with pytest.raises(Invalid, match=r"media\.transcode \(classic, .*somebody else") as refused:
        await tenants.reconcile(made())

    assert refused.value.reason == "QueueDiffers"
    assert await ready(tenants, "media.transcode") == 0


async def test_what_was_deleted_by_hand_is_seen_as_missing(tenants: Tenants) -> None:
    await tenants.reconcile(made())
    await tenants.session.management.delete_queue("media.transcode")
    tenants.session.doubt()
    inventory = await tenants.session.inventory()
    wanted = Topology(
        queues=tuple(q for q in inventory.queues.values() if q.name == "media.transcode.dead")
    )
    assert inventory.missing(wanted) == Topology()
    assert "media.transcode" not in inventory.queues

    await tenants.reconcile(made())

    assert await ready(tenants, "media.transcode") == 0


async def test_wrong_credentials_and_no_broker_are_told_apart(session: Session) -> None:
    wrong = dataclasses.replace(session.address, password="wrong")
    with pytest.raises(Transient) as refused:
        await connect(wrong, heartbeat=30.0)
    nowhere = dataclasses.replace(session.address, management_url="http://127.0.0.1:9")
    with pytest.raises(Transient) as away:
        await connect(nowhere, heartbeat=30.0)
    no_amqp = dataclasses.replace(session.address, port=9)
    with pytest.raises(Transient) as half:
        await connect(no_amqp, heartbeat=30.0)

    assert refused.value.reason == "AuthenticationFailed"
    assert away.value.reason == "ManagementUnreachable"
    assert half.value.reason == "Unreachable"
    assert "AMQP at 127.0.0.1:9" in str(half.value)


async def ready(tenants: Tenants, queue: str) -> int | None:
    depth = (await tenants.session.link.depths.read([queue])).get(queue)
    return depth.ready if isinstance(depth, Depth) else None


async def _is(value: Awaitable[object], wanted: object) -> bool:
    return await value == wanted


async def test_what_is_under_way_for_a_task_queue_that_is_gone_is_not_its_successors(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its finalizer was taken away by hand, and the manifest applied again."""
    operating = Operating(session)
    before, after = made(uid="before"), made(uid="after")
    management = type(session.management)
    create = management.create

    async def creating(self: Management, topology: Topology) -> None:
        await create(self, topology)
        operating.queues["media", "transcode"] = [after]

    monkeypatch.setattr(management, "create", creating)
    async with operating.running():
        operating.apply(before)
        await operating.settled(before)
        await operating.settled(after)

    assert operating.kubernetes.writes.count("secret transcode-worker") == 1
    assert operating.kubernetes.writes.count("deployment transcode-worker") == 1
    metadata = operating.kubernetes.metadata["media", "transcode-worker"]
    assert [reference["uid"] for reference in metadata["ownerReferences"]] == ["after"]
