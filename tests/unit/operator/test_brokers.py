"""What goes wrong with one Broker, foreseen or not, ends no other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from longshore.contract.features import features_of
from longshore.contract.names import INSTALLATION_EXCHANGE
from longshore_operator.app.sessions import keeper as module
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import BrokerObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.rabbitmq.installation import mark_of
from longshore_operator.core.rabbitmq.inventory import Inventory
from tests.integration.operator.brokers import SECRET, registered, reporter
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.task_queues import until

pytestmark = pytest.mark.virtual_time

KEYS = {"username": "u", "password": "p", "host": "h"}


class Link:
    """A link that works, but for what is put in the place of its parts."""

    version = "4.3.6"
    is_lost = False

    def __init__(self) -> None:
        self.management = SimpleNamespace(inventory=self.marked, delete_exchange=self.delete)
        self.is_closed = False
        self.deleted: list[str] = []

    async def marked(self) -> Inventory:
        return Inventory(exchanges={INSTALLATION_EXCHANGE: mark_of("us")})

    async def delete(self, name: str) -> None:
        assert not self.is_closed
        self.deleted.append(name)

    async def version_now(self) -> str:
        return self.version

    async def alarms_now(self) -> tuple[()]:
        return ()

    async def close(self) -> None:
        self.is_closed = True


async def broken(*_: Any) -> Any:
    raise AttributeError("'str' object has no attribute 'get'")


class Watched(Brokers):
    """Brokers whose sessions are made without RabbitMQ."""

    links: dict[str, list[Link]]

    async def _open(self, broker: BrokerObject) -> Session:
        link = Link()
        self.links.setdefault(broker.name, []).append(link)
        return Session(
            spec=broker.spec,
            address=await self._address(broker.spec),
            features=features_of(link.version),
            link=link,  # type: ignore[arg-type]  # as much of one as a Broker's keeper uses
            clock=self.clock,
            owner="us",
        )


@asynccontextmanager
async def keeping(*names: str, kubernetes: Kubernetes) -> AsyncIterator[Watched]:
    brokers = Watched(
        world=World(is_complete=True, registered={name: [registered(name)] for name in names}),
        cluster=kubernetes,
        connect=None,  # type: ignore[arg-type]  # `_open` above needs none
        clock=asyncio.get_running_loop().time,
        chance=lambda: 0.0,
    )
    brokers.links = {}
    parts = (brokers, reporter(brokers, world=brokers.world, kubernetes=kubernetes))
    loops = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield brokers
        assert not any(loop.done() for loop in loops), loops
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def odd_version(link: Link) -> None:
    link.version_now = broken  # type: ignore[method-assign]  # the failure


def odd_close(link: Link) -> None:
    link.is_lost, link.close = True, broken  # type: ignore[method-assign]  # the failure


def odd_release(link: Link) -> None:
    link.management.inventory = broken
    link.is_lost = True


@pytest.mark.parametrize("spoil", [odd_version, odd_close, odd_release])
async def test_what_nobody_foresaw_in_one_brokers_keeping_is_its_own_trouble(
    spoil: Callable[[Link], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECRET_AGE", 0.0)
    kubernetes = Kubernetes(secrets={SECRET: KEYS})
    async with keeping("one", "other", kubernetes=kubernetes) as brokers:

        async def are_open() -> bool:
            return len(brokers.sessions()) == 2

        await until(are_open, within=10)
        if spoil is odd_release:
            brokers.world.registered = {
                "one": [registered("one", vhost="another")],
                "other": brokers.world.registered["other"],
            }
        spoil(brokers.links["one"][0])

        async def is_opened_again() -> bool:
            return len(brokers.links["one"]) > 1 and brokers.session("one") is not None

        await until(is_opened_again, within=10)
        assert len(brokers.links["other"]) == 1
        assert spoil is odd_close or brokers.links["one"][0].is_closed


async def test_a_brokers_status_tells_of_what_nobody_foresaw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SECRET_AGE", 0.0)
    monkeypatch.setattr(Link, "version_now", broken)
    kubernetes = Kubernetes(secrets={SECRET: KEYS})
    async with keeping("one", kubernetes=kubernetes):

        async def reasons() -> bool:
            told = [status["conditions"][0]["reason"] for status in kubernetes.statuses]
            return "InternalError" in told

        await until(reasons, within=10)


@pytest.mark.parametrize(
    ("change", "leaves"),
    [({"host": "elsewhere"}, True), ({"port": "5673"}, True), ({"password": "new"}, False)],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_broker_whose_secret_names_another_rabbitmq_takes_its_mark_away_from_the_old_one(
    change: dict[str, str], *, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left there, it would keep every other Broker from that virtual host."""
    monkeypatch.setattr(module, "SECRET_AGE", 0.0)
    kubernetes = Kubernetes(secrets={SECRET: KEYS})
    async with keeping("one", kubernetes=kubernetes) as brokers:

        async def has_moved() -> bool:
            return len(brokers.links.get("one", [])) == 2

        await until(lambda: _is_open(brokers), within=10)
        kubernetes.secrets[SECRET] = KEYS | change
        await until(has_moved, within=10)

        assert brokers.links["one"][0].deleted == ([INSTALLATION_EXCHANGE] if leaves else [])


async def _is_open(brokers: Brokers) -> bool:
    return brokers.session("one") is not None
