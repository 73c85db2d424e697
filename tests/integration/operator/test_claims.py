"""Whose queue it is: leave by the Broker, one TaskQueue a queue, policies of somebody else."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from longshore.contract.names import JOBS_EXCHANGE
from longshore_operator.app.sessions.declaring import declare, refuse_foreign_policies
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.topology import vhost_topology
from longshore_operator.errors import Invalid
from tests.integration.operator.brokers import registered
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import labelled, made, until


@pytest.fixture
async def operating(session: Session) -> AsyncIterator[Operating]:
    async with Operating(session).running() as operating:
        yield operating


async def test_a_namespace_that_the_broker_does_not_allow_gets_nothing(
    operating: Operating,
) -> None:
    allowed = registered(allowedNamespaces={"matchLabels": {"team": "media"}}).spec
    operating.session.spec = allowed
    operating.world.namespaces = labelled(media={"team": "media"}, other={"team": "x"})

    await operating.ready(made())
    found = await operating.refused(made(namespace="other"))

    assert found.reason == "NamespaceNotAllowed"
    assert "namespace other" in found.message
    inventory = await operating.session.management.inventory()
    assert not [name for name in inventory.queues if name.startswith("other.")]
    assert not [name for name in inventory.password_hashes if ".other.transcode" in name]


async def test_what_was_declared_stays_when_the_broker_allows_it_no_more(
    operating: Operating,
) -> None:
    state = await operating.ready(made())
    operating.session.spec = registered(allowedNamespaces={"matchLabels": {"team": "x"}}).spec
    operating.world.namespaces = labelled(media={})

    found = await operating.refused(made(generation=2))

    assert found.reason == "NamespaceNotAllowed"
    assert state.seen.is_declared, "workers are still scaled"
    inventory = await operating.session.management.inventory()
    assert {"media.transcode", "media.transcode.dead"} <= set(inventory.queues)
    assert operating.kubernetes.secrets


async def test_the_second_task_queue_of_one_queue_is_refused(operating: Operating) -> None:
    operating.declare("orders")
    spec: dict[str, Any] = {"queue": {"name": "orders", "type": "Classic"}}
    await operating.ready(made("first", **spec))

    second = made("second", created="2026-01-02T00:00:00Z", **spec)
    found = await operating.refused(second)

    assert found.reason == "QueueTaken"
    assert "media/first" in found.message


async def test_a_foreign_policy_that_wins_is_named_and_left_alone(operating: Operating) -> None:
    state = await operating.ready(made())
    vhost = operating.session.address.vhost
    foreign = {"pattern": ".*", "priority": 9999, "apply-to": "queues"}
    await operating.put("policies", vhost, "theirs", **foreign, definition={"max-length": 7})

    async def seen() -> bool:
        return state.policy_trouble is not None

    await until(seen, within=30)
    assert state.policy_trouble
    assert state.policy_trouble.reason == "ForeignPolicy"
    assert "'theirs' for queue media.transcode" in state.policy_trouble.message
    by_consumer = operating.session.features.ack_timeout_by_consumer
    assert ("ack timeout" in state.policy_trouble.message) is not by_consumer
    policies = (await operating.session.management.inventory()).policies
    assert policies["theirs"].priority == 9999

    await operating.session.management.delete_policy("theirs")

    async def gone() -> bool:
        return state.policy_trouble is None

    await until(gone, within=30)


async def test_a_foreign_policy_over_the_delays_is_the_brokers_trouble(
    operating: Operating,
) -> None:
    vhost = operating.session.address.vhost
    foreign = {"pattern": "delay", "priority": 9999, "apply-to": "queues"}
    await operating.put("policies", vhost, "theirs", **foreign, definition={"max-length": 7})

    async def seen() -> bool:
        return operating.session.policy_trouble is not None

    await until(seen, within=30)
    assert operating.session.policy_trouble
    assert operating.session.policy_trouble.reason == "ForeignPolicy"
    assert "'theirs'" in operating.session.policy_trouble.message


@pytest.mark.parametrize("kind", ["exchanges", "all"])
async def test_a_foreign_policy_over_the_exchanges_is_the_brokers_trouble(
    operating: Operating, kind: str
) -> None:
    """With it what no queue takes would be confirmed, and end elsewhere."""
    vhost = operating.session.address.vhost
    foreign = {"pattern": ".*", "priority": 0, "apply-to": kind}
    elsewhere = {"alternate-exchange": "amq.fanout"}
    await operating.put("policies", vhost, "theirs", **foreign, definition=elsewhere)

    async def seen() -> bool:
        return operating.session.policy_trouble is not None

    await until(seen, within=30)
    assert operating.session.policy_trouble
    assert operating.session.policy_trouble.reason == "ForeignPolicy"
    assert "'theirs'" in operating.session.policy_trouble.message
    assert "exchange longshore." in operating.session.policy_trouble.message

    await operating.session.management.delete_policy("theirs")

    async def gone() -> bool:
        return operating.session.policy_trouble is None

    await until(gone, within=30)


async def test_an_exchange_of_somebody_elses_under_our_name_is_named_and_left_alone(
    session: Session,
) -> None:
    vhost = session.address.vhost
    await session.management.delete_exchange(JOBS_EXCHANGE)
    theirs = {"type": "topic", "durable": True, "internal": True}
    await Operating(session).put("exchanges", vhost, JOBS_EXCHANGE, **theirs)

    with pytest.raises(Invalid, match=r"longshore\.jobs \(internal durable topic") as refused:
        await declare(vhost_topology(), session=session)

    assert refused.value.reason == "ExchangeDiffers"
    assert (await session.management.inventory()).exchanges[JOBS_EXCHANGE].internal


async def test_a_policy_for_everything_does_not_touch_the_delays(operating: Operating) -> None:
    vhost = operating.session.address.vhost
    foreign = {"pattern": ".*", "priority": 1, "apply-to": "queues"}
    await operating.put("policies", vhost, "theirs", **foreign, definition={"message-ttl": 1})

    inventory = await operating.session.management.inventory()

    found = {state.policy for name, state in inventory.states.items() if ".delay." in name}
    assert found == {"longshore.delay"}


async def test_a_policy_name_of_somebody_elses_is_not_overwritten(operating: Operating) -> None:
    vhost = operating.session.address.vhost
    foreign = {"pattern": "^theirs", "priority": 1, "apply-to": "queues"}
    name = "longshore.own.media.transcode"
    await operating.put("policies", vhost, name, **foreign, definition={"max-length": 7})
    operating.session.doubt()

    found = await operating.refused(made(queue={"maxLength": 5}))

    assert found.reason == "PolicyNameTaken"
    assert name in found.message
    policies = (await operating.session.management.inventory()).policies
    assert policies[name].pattern == "^theirs"


async def test_a_default_policys_name_may_be_taken_too(session: Session) -> None:
    operating = Operating(session)
    taken = {"pattern": "^theirs", "priority": 1, "apply-to": "queues"}
    vhost = session.address.vhost
    await operating.put("policies", vhost, "longshore.jobs", **taken, definition={"max-length": 7})
    session.doubt()

    with pytest.raises(Invalid, match=r"longshore\.jobs") as refused:
        await refuse_foreign_policies(vhost_topology(), session=session, known=None)
    await declare(dataclasses.replace(vhost_topology(), policies=()), session=session)

    assert refused.value.reason == "PolicyNameTaken"


@pytest.mark.parametrize("name", ["media.transcode", "media.transcode.dead"])
async def test_a_refused_wish_does_not_block_the_queue_that_it_names(
    operating: Operating, name: str
) -> None:
    squatter = made("squat", namespace="other", queue={"name": name})
    assert (await operating.refused(squatter)).reason == "QueueReserved"

    await operating.ready(made(created="2026-01-02T00:00:00Z"))


async def test_a_wish_from_a_namespace_that_is_not_served_blocks_nobody(
    operating: Operating,
) -> None:
    operating.session.spec = registered(allowedNamespaces={"matchLabels": {"team": "b"}}).spec
    operating.world.namespaces = labelled(media={"team": "b"}, other={})
    operating.declare("orders")
    spec: dict[str, Any] = {"queue": {"name": "orders", "type": "Classic"}}
    squatter = made("squat", namespace="other", **spec)
    assert (await operating.refused(squatter)).reason == "NamespaceNotAllowed"

    await operating.ready(made(created="2026-01-02T00:00:00Z", **spec))


async def test_no_task_queue_gets_a_queue_that_all_share(operating: Operating) -> None:
    found = await operating.refused(made("lost", namespace="longshore"))

    assert found.reason == "NameReserved"
    assert "'longshore.lost'" in found.message
    inventory = await operating.session.management.inventory()
    assert "longshore.lost.dead" not in inventory.queues
    assert not [name for name in inventory.password_hashes if ".longshore.lost." in name]
