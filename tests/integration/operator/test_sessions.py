"""Sessions with Brokers: apart from each other, opened anew when they must be."""

import asyncio
import contextlib
import gc
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from longshore_operator.adapters.management.api import Management
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.session import MAX_FAILED_PATROLS, Session
from longshore_operator.app.watched.objects import BrokerObject
from longshore_operator.core.access import credentials
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.access.permissions import user
from longshore_operator.errors import Invalid, Transient
from tests.integration.operator.brokers import SECRET, keeping, outcome, registered
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.operating import Operating
from tests.integration.operator.task_queues import Tenants, made, until
from tests.integration.relay import Relay


class Administrator:
    """A user that a Broker's Secret names, and that somebody changes in RabbitMQ."""

    def __init__(self, where: Address) -> None:
        self.name = f"{where.vhost}-admin"
        self._client = httpx.AsyncClient(
            base_url=f"{where.management_url}/api/users/", auth=(where.username, where.password)
        )

    async def set_password(self, password: str) -> dict[str, str]:
        """What the Secret should say now."""
        body = {"password": password, "tags": "administrator"}
        (await self._client.put(self.name, json=body)).raise_for_status()
        return {"username": self.name, "password": password}

    async def close(self) -> None:
        await self._client.delete(self.name)
        await self._client.aclose()


@pytest.fixture
async def administrator(session: Session) -> AsyncIterator[Administrator]:
    administrator = Administrator(session.address)
    yield administrator
    await administrator.close()


def reaching(where: Address, name: str = "default", **changes: Any) -> BrokerObject:
    spec: dict[str, Any] = {
        "host": where.host,
        "port": where.port,
        "managementURL": where.management_url,
    }
    return registered(name, vhost=where.vhost, **(spec | changes))


async def anew(brokers: Brokers, old: Session, *, within: float = 40) -> Session:
    """The session that takes the place of `old`."""

    async def look() -> Session | None:
        now = brokers.session("default")
        return now if now is not old else None

    found: Session = await until(look, within=within)
    return found


async def test_a_password_rotated_in_the_secret_is_taken_up(
    session: Session, administrator: Administrator
) -> None:
    """First RabbitMQ, then the Secret, as an administrator would do it."""
    kubernetes = Kubernetes(secrets={SECRET: await administrator.set_password("old")})
    async with keeping(reaching(session.address), kubernetes=kubernetes) as brokers:
        first = await outcome(brokers)
        assert isinstance(first, Session), first

        kubernetes.secrets[SECRET] = await administrator.set_password("new")

        second = await anew(brokers, first)
        assert second.address.password == "new"
        await second.management.inventory()


async def test_a_secret_that_becomes_useless_leaves_a_session_that_works(
    session: Session, administrator: Administrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("longshore_operator.app.sessions.keeper.SECRET_AGE", 0.1)
    kubernetes = Kubernetes(secrets={SECRET: await administrator.set_password("old")})
    reads = []

    async def read(**_: Any) -> None:
        reads.append(1)

    async with keeping(reaching(session.address), kubernetes=kubernetes) as brokers:
        first = await outcome(brokers)
        monkeypatch.setattr(kubernetes, "secret", read)  # as if it had been deleted

        async def looked() -> bool:
            return len(reads) > 2

        await until(looked, within=20)
        assert brokers.session("default") is first


async def test_a_session_whose_patrols_fail_is_opened_anew(session: Session) -> None:
    """As after a change of the password in RabbitMQ: AMQP goes on, management refuses us."""
    where = session.address
    data = {"username": where.username, "password": where.password}
    kubernetes = Kubernetes(secrets={SECRET: data})
    async with keeping(reaching(where), kubernetes=kubernetes) as brokers:
        first = await outcome(brokers)
        assert isinstance(first, Session), first

        for _ in range(MAX_FAILED_PATROLS):
            first.note_patrol(failed=True)

        second = await anew(brokers, first)
        assert not second.is_void
        assert first.link.is_lost, "the old connection is closed"


async def test_sessions_that_are_lost_leave_nothing_open(session: Session) -> None:
    where = session.address
    with Relay(f"amqp://{where.host}:{where.port}") as relay:
        port = urlsplit(relay.url).port
        secret = {"username": where.username, "password": where.password}
        kubernetes = Kubernetes(secrets={SECRET: secret})
        async with keeping(reaching(where, port=port), kubernetes=kubernetes) as brokers:
            now = await outcome(brokers)
            assert isinstance(now, Session), now
            opened = []
            for _ in range(5):
                relay.cut()
                now = await anew(brokers, now)
                gc.collect()
                opened.append(sorted(_open()))
            assert len(opened[-1]) <= len(opened[0]), (opened[0], opened[-1])


def _open() -> list[str]:
    """What this process has open, by kind."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(each.readlink()).partition(":")[0])
    return found


def test_one_good_patrol_forgives_a_bad_one(session: Session) -> None:
    for failed in (True, False, True):
        session.note_patrol(failed=failed)

    assert not session.is_void


async def test_a_patrol_that_is_refused_is_counted(
    session: Session, administrator: Administrator
) -> None:
    data = await administrator.set_password("old")
    kubernetes = Kubernetes(secrets={SECRET: data})
    async with keeping(reaching(session.address), kubernetes=kubernetes) as brokers:
        one = await outcome(brokers)
        assert isinstance(one, Session), one
        async with Operating(one).running():
            await administrator.set_password("new")

            async def void() -> bool:
                return one.is_void

            await until(void, within=40)


async def test_one_brokers_bug_does_not_end_the_others(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, whole = session.address, credentials.address

    def address(spec: Any, *arguments: Any, **named: Any) -> Address:
        if spec.host == "bug":
            raise RuntimeError("a bug")
        return whole(spec, *arguments, **named)

    monkeypatch.setattr("longshore_operator.app.sessions.keeper.address", address)
    data = {"username": where.username, "password": where.password}
    brokers = (reaching(where), registered("bad", host="bug"))
    async with keeping(*brokers, kubernetes=Kubernetes(secrets={SECRET: data})) as kept:
        bad, good = await outcome(kept, "bad"), await outcome(kept)

        assert isinstance(good, Session), good
        assert getattr(bad, "reason", None) == "InternalError"


async def test_several_brokers_of_different_versions_serve_at_once(
    brokers: dict[str, dict[str, Any]],
) -> None:
    vhost = f"op-{uuid.uuid4().hex[:12]}"
    objects, secrets = [], {}
    for series, record in brokers.items():
        name = f"v{series.replace('.', '-')}"
        host, _, port = record["amqp"].rstrip("/").rpartition("@")[2].partition(":")
        reference = {"namespace": "mq", "name": name}
        objects.append(
            registered(
                name,
                secretRef=reference,
                host=host,
                port=int(port),
                managementURL=record["management"],
                vhost=vhost,
            )
        )
        secrets["mq", name] = {"username": record["user"], "password": record["password"]}
    try:
        async with keeping(*objects, kubernetes=Kubernetes(secrets=secrets)) as kept:
            found = [await outcome(kept, each.name) for each in objects]
            sessions = [one for one in found if isinstance(one, Session)]
            assert [one.features.ack_timeout_by_consumer for one in sessions] == [False, True]
            for one in sessions:
                await Tenants(one).reconcile(made())
    finally:
        for record in brokers.values():
            auth = (record["user"], record["password"])
            async with httpx.AsyncClient(base_url=record["management"], auth=auth) as client:
                for role in ("worker", "producer"):
                    await client.delete(f"/api/users/{vhost}.media.transcode.{role}")
                await client.delete(f"/api/vhosts/{vhost}")


# httpx leaves the sockets of calls that are under way to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_session_closed_under_a_call_is_a_passing_trouble(session: Session) -> None:
    calls = [asyncio.ensure_future(session.management.inventory()) for _ in range(4)]
    await asyncio.sleep(0.01)
    await session.link.close()

    results = await asyncio.gather(*calls, return_exceptions=True)
    kinds = {type(each) for each in results if isinstance(each, Exception)}
    with pytest.raises(Transient) as closed:
        await session.management.has_queue("media.transcode")

    assert closed.value.reason == "Connecting"
    assert kinds <= {Transient}
    del calls, results
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["Secret", "Deployment"])
async def test_an_object_of_our_name_that_is_not_ours_is_left_alone(
    session: Session, kind: str
) -> None:
    tenants = Tenants(session)
    key, theirs = ("media", "transcode-worker"), {"theirs": "yes"}
    bare: dict[str, Any] = {"metadata": {}, "spec": {}}
    if kind == "Secret":
        tenants.kubernetes.secrets[key] = theirs
    else:
        tenants.kubernetes.deployments[key] = dict(bare)

    with pytest.raises(Invalid) as refused:
        await tenants.reconcile(made())

    assert refused.value.reason == f"{kind}NotOurs"
    assert "media/transcode-worker" in str(refused.value)
    if kind == "Secret":
        assert tenants.kubernetes.secrets[key] == theirs
    else:
        assert tenants.kubernetes.deployments[key] == bare


async def test_a_user_may_write_only_once_its_keys_are_restricted(session: Session) -> None:
    """Without a topic permission RabbitMQ lets a user publish any key."""
    order: list[str] = []

    class Watched(Management):
        async def _write(self, method: str, *path: str, body: Any) -> None:
            order.append(path[0])
            await super()._write(method, *path, body=body)

    management = Watched(session.address)
    one = user(vhost=session.address.vhost, queue="media.transcode", role="worker")
    await management.put_user(one, password="x")
    await management.close()

    assert order[0] == "users"
    assert order[-1] == "permissions"
    assert set(order[1:-1]) == {"topic-permissions"}
