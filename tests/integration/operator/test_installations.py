"""A virtual host is one Broker's, of one installation."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from longshore.contract.features import features_of
from longshore.contract.names import INSTALLATION_EXCHANGE
from longshore_operator.adapters.rabbitmq.link import RabbitMQ, connect
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.sessions.installations import claim, keep
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import BrokerObject, NamespaceObject, broker
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.rabbitmq.topology import Exchange, Topology
from longshore_operator.errors import Invalid
from longshore_operator.trouble import Trouble
from tests.integration.operator.brokers import SECRET, keeping, outcome
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import made, until


def cluster(uid: str, **parts: Any) -> World:
    """What the operator of a Kubernetes cluster sees."""
    system = {"kube-system": [NamespaceObject(uid=uid)]}
    return World(is_complete=True, namespaces=system, **parts)


@pytest.fixture
def kubernetes(where: Address) -> Kubernetes:
    credentials = {"username": where.username, "password": where.password}
    return Kubernetes(secrets={SECRET: credentials})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def registered(
    where: Address, name: str = "default", *, uid: str = "one", takes_from: str = ""
) -> BrokerObject:
    found = broker(
        {
            "metadata": {
                "name": name,
                "uid": uid,
                "annotations": {"longshore.dev/take-vhost-from": takes_from},
            },
            "spec": {
                "secretRef": {"namespace": SECRET[0], "name": SECRET[1]},
                "host": where.host,
                "port": where.port,
                "managementURL": where.management_url,
                "vhost": where.vhost,
            },
        }
    )
    assert found is not None
    return found


async def taken(brokers: Brokers, name: str = "default") -> Trouble:
    found = await outcome(brokers, name)
    assert isinstance(found, Trouble), "it is Ready"
    assert found.reason == "VhostTaken", found
    return found


async def ready(brokers: Brokers, name: str = "default") -> Session:
    async def look() -> Session | None:
        return brokers.session(name)

    found: Session = await until(look, within=30)
    return found


async def test_the_later_of_two_brokers_on_one_vhost_is_not_ready(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes, stack: AsyncExitStack
) -> None:
    world = cluster("a")
    first, second = registered(where, "first"), registered(where, "second", uid="two")
    brokers = await stack.enter_async_context(keeping(first, kubernetes=kubernetes, world=world))
    await ready(brokers, "first")
    world.registered = {"first": [first], "second": [second]}

    found = await taken(brokers, "second")

    assert "Broker 'first'" in found.message
    assert "longshore.dev/take-vhost-from=kubernetes/a/first" in found.message
    assert brokers.session("first") is not None
    world.registered = {"second": [second]}
    await ready(brokers, "second")


async def test_the_later_of_two_clusters_on_one_vhost_is_not_ready_and_changes_nothing(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes, stack: AsyncExitStack
) -> None:
    one = await stack.enter_async_context(
        keeping(registered(where), kubernetes=kubernetes, world=cluster("a"))
    )
    await ready(one)
    before = await link.management.inventory()

    other = await stack.enter_async_context(
        keeping(registered(where, uid="two"), kubernetes=kubernetes, world=cluster("b"))
    )
    found = await taken(other)

    assert "kubernetes/a/default" in found.message
    assert "longshore.dev/take-vhost-from=kubernetes/a/default" in found.message
    after = await link.management.inventory()
    assert (after.exchanges, after.queues) == (before.exchanges, before.queues)
    assert (after.bindings, after.policies) == (before.bindings, before.policies)


async def test_a_broker_that_is_deleted_lets_another_cluster_have_its_vhost(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes, stack: AsyncExitStack
) -> None:
    world = cluster("a")
    one = await stack.enter_async_context(
        keeping(registered(where), kubernetes=kubernetes, world=world)
    )
    await ready(one)
    other = await stack.enter_async_context(
        keeping(registered(where, uid="two"), kubernetes=kubernetes, world=cluster("b"))
    )
    await taken(other)

    world.registered = {}

    await ready(other)


async def test_the_vhost_of_a_dead_cluster_is_taken_over_by_name(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes
) -> None:
    async with keeping(registered(where), kubernetes=kubernetes, world=cluster("a")) as dead:
        await ready(dead)
    another = registered(where, uid="two", takes_from="kubernetes/c/default")
    async with keeping(another, kubernetes=kubernetes, world=cluster("b")) as other:
        await taken(other)

    moved = registered(where, uid="two", takes_from="kubernetes/a/default")
    async with keeping(moved, kubernetes=kubernetes, world=cluster("b")) as other:
        session = await ready(other)

    assert session.owner == "kubernetes/b/default"


async def test_the_broker_of_a_name_that_is_made_anew_has_its_vhost_still(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes
) -> None:
    for uid in ("one", "two"):
        again = registered(where, uid=uid)
        async with keeping(again, kubernetes=kubernetes, world=cluster("a")) as brokers:
            await ready(brokers)


async def test_the_vhost_of_a_broker_that_went_unseen_is_free(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes
) -> None:
    """It was deleted while no operator ran."""
    old = registered(where, "old")
    async with keeping(old, kubernetes=kubernetes, world=cluster("a")) as brokers:
        await ready(brokers, "old")

    new = registered(where, "new", uid="two")
    async with keeping(new, kubernetes=kubernetes, world=cluster("a")) as brokers:
        await ready(brokers, "new")


async def test_the_vhost_that_a_broker_has_left_for_another_is_free(
    link: RabbitMQ, where: Address, kubernetes: Kubernetes
) -> None:
    """Its spec was changed while no operator ran."""
    old = registered(where, "old")
    async with keeping(old, kubernetes=kubernetes, world=cluster("a")) as brokers:
        await ready(brokers, "old")

    left = replace(old, spec=old.spec.model_copy(update={"vhost": "elsewhere", "host": "nowhere"}))
    new = registered(where, "new", uid="two")
    async with keeping(left, new, kubernetes=kubernetes, world=cluster("a")) as brokers:
        await ready(brokers, "new")


async def test_a_mark_that_somebody_has_deleted_is_back(session: Session) -> None:
    session.owner = "kubernetes/a/default"
    operating = Operating(session)
    async with operating.running():
        await operating.ready(made())

        async def is_marked() -> bool:
            inventory = await session.management.inventory()
            return INSTALLATION_EXCHANGE in inventory.exchanges

        await until(is_marked, within=30)
        await session.management.delete_exchange(INSTALLATION_EXCHANGE)
        await until(is_marked, within=30)


async def test_who_has_lost_its_vhost_writes_nothing_more(session: Session) -> None:
    session.owner = "kubernetes/a/default"
    other = Exchange(
        name=INSTALLATION_EXCHANGE,
        type="fanout",
        arguments={"alternate-exchange": "kubernetes/b/default"},
    )
    await session.management.apply(Topology(exchanges=(other,)))
    inventory = await session.inventory(max_age=0)

    assert not await keep(session, inventory)
    async with Operating(session).running():

        async def void() -> bool:
            return session.is_void

        await until(void, within=30)


async def test_of_many_that_claim_a_vhost_at_once_one_gets_it(
    where: Address, link: RabbitMQ
) -> None:
    spec = BrokerSpec.model_validate(
        {"secretRef": {"name": "rabbit", "namespace": "mq"}, "vhost": where.vhost}
    )
    links = [await connect(where, heartbeat=30.0) for _ in range(5)]

    async def attempt(number: int) -> str:
        session = Session(
            spec=spec,
            address=where,
            features=features_of(links[number].version),
            link=links[number],
            clock=time.monotonic,
            owner=f"kubernetes/{number}/default",
        )
        await claim(session, broker=registered(where), world=cluster(str(number)))
        return session.owner

    attempts = (attempt(number) for number in range(len(links)))
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)

    for each in links:
        await each.close()
    refused = [each for each in outcomes if isinstance(each, Invalid)]
    assert {each.reason for each in refused} == {"VhostTaken"}
    assert len(refused) == len(links) - 1, outcomes
