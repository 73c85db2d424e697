"""Keeps a session with every Broker: opens, reopens and closes it, and knows its trouble."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Protocol

from longshore.contract import backoff
from longshore.contract.features import features_of
from longshore.logs import Log
from longshore_operator.api.v1alpha1 import BrokerSpec, SecretReference
from longshore_operator.app.ports.kubernetes import ReadableSecrets
from longshore_operator.app.ports.rabbitmq import Link
from longshore_operator.app.sessions.declaring import declare, refuse_foreign_policies
from longshore_operator.app.sessions.installations import claim, release
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import BrokerObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.credentials import Address, address
from longshore_operator.core.rabbitmq.blockage import alarm_trouble
from longshore_operator.core.rabbitmq.installation import owner_name
from longshore_operator.core.rabbitmq.topology import vhost_topology
from longshore_operator.errors import OperatorError, Transient
from longshore_operator.trouble import Trouble

log = Log(__name__)

SLOWEST_RETRY = 2.0
"""Maximum seconds between attempts to reach an unavailable Broker, before jitter."""

SECRET_AGE = 10.0
"""Seconds after which a Broker's Secrets and RabbitMQ's version are read again."""

ALARM_AGE = 5.0
"""Seconds after which a Broker's alarms are read again."""

CONNECTING = Trouble(reason="Connecting", message="the operator is connecting to the Broker")


class Connect(Protocol):
    """Opens a link. Raises Transient or Invalid."""

    def __call__(self, address: Address, /, *, heartbeat: float) -> Awaitable[Link]: ...


@dataclass(slots=True, kw_only=True)
class Brokers:
    """All Brokers. `clock` is monotonic, `chance` is uniform in [0, 1)."""

    world: World
    cluster: ReadableSecrets
    connect: Connect
    clock: Callable[[], float]
    chance: Callable[[], float]
    _sessions: dict[str, Session] = field(default_factory=dict)
    _troubles: dict[str, Trouble] = field(default_factory=dict)
    _keepers: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def session(self, name: str) -> Session | None:
        """Return the session with a Broker, if there is one."""
        return self._sessions.get(name)

    def trouble(self, name: str) -> Trouble | None:
        """Return why there is no session; None if there is one."""
        if name in self._sessions:
            return None
        if self.world.broker(name) is not None:
            return self._troubles.get(name, CONNECTING)
        if not self.world.is_complete:
            return CONNECTING
        message = f"there is no Broker {name!r}; create it, or set spec.broker.name to one of "
        known = ", ".join(sorted(broker.name for broker in self.world.brokers())) or "none yet"
        return Trouble(reason="BrokerNotFound", message=message + known)

    def sessions(self) -> dict[str, Session]:
        """Return all sessions, by Broker."""
        return dict(self._sessions)

    async def run(self) -> None:
        """Keep sessions until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    self._start_keepers(group)
                    await asyncio.sleep(1.0)
        finally:
            for session in self._sessions.values():
                await _close(session)

    def _start_keepers(self, group: asyncio.TaskGroup) -> None:
        for broker in self.world.brokers():
            keeper = self._keepers.get(broker.name)
            if keeper is None or keeper.done():
                self._keepers[broker.name] = group.create_task(self._keep(broker.name))

    async def _keep(self, name: str) -> None:
        """Hold a session with one Broker for as long as it exists."""
        failures = 0
        while (broker := self.world.broker(name)) is not None:
            try:
                await self._hold(broker)
                failures = 0
            except Exception as error:
                # Faults in one Broker's fields or answers must not end the others.
                failures += 1
                self._troubles[name] = _trouble(error)
                log.warning(
                    "broker-unreachable",
                    broker=name,
                    error=self._troubles[name].message,
                    exc_info=not isinstance(error, OperatorError),
                )
                await asyncio.sleep(
                    backoff.delay_after(
                        failures, first=1.0, most=SLOWEST_RETRY, chance=self.chance()
                    )
                )
        self._troubles.pop(name, None)

    async def _hold(self, broker: BrokerObject) -> None:
        """Hold one session from its beginning to its end. Raises whatever prevents it from being
        opened, and any unexpected error."""
        name, failed = broker.name, None
        session = await self._open(broker)
        self._troubles.pop(name, None)
        self._sessions[name] = session
        log.info("broker-connected", broker=name, version=session.link.version)
        try:
            await self._until_void(name, session)
        except Exception as error:
            failed = error
        del self._sessions[name]
        log.info("broker-disconnected", broker=name)
        try:
            if await self._has_left(name, session):
                await release(session)
        finally:
            await _close(session)
        if failed is not None:
            raise failed

    async def _has_left(self, name: str, session: Session) -> bool:
        """Return whether the Broker no longer exists, or its spec or Secret now names another
        virtual host or RabbitMQ."""
        if not self.world.is_complete:
            return False
        broker, before = self.world.broker(name), session.spec
        if broker is None or (broker.spec.host, broker.spec.vhost) != (before.host, before.vhost):
            return True
        now = await self._address_now(session)
        return (now.host, now.port) != (session.address.host, session.address.port)

    async def _until_void(self, name: str, session: Session) -> None:
        """Wait until the session is void, or the Broker or its Secret has changed or is gone."""
        looked_at, alarms_at = self.clock(), -inf
        while True:
            broker = self.world.broker(name)
            if session.is_void or broker is None or broker.spec != session.spec:
                return
            if self.clock() - alarms_at > ALARM_AGE:
                alarms_at = self.clock()
                session.alarm = await _alarm(session)
            if self.clock() - looked_at > SECRET_AGE:
                looked_at = self.clock()
                if await self._address_now(session) != session.address:
                    log.info("broker-address-changed", broker=name)
                    return
                if await _is_upgraded(session):
                    log.info("broker-upgraded", broker=name)
                    return
            await asyncio.sleep(0.5)

    async def _address_now(self, session: Session) -> Address:
        """Return the address from the Secrets as they are now. If they give none, keep the old."""
        try:
            return await self._address(session.spec)
        except OperatorError:
            return session.address

    async def _open(self, broker: BrokerObject) -> Session:
        where = await self._address(broker.spec)
        link = await self.connect(where, heartbeat=broker.spec.heartbeat)
        try:
            session = Session(
                spec=broker.spec,
                address=where,
                features=features_of(link.version),
                link=link,
                clock=self.clock,
                owner=await self._owner(broker),
            )
            await claim(session, broker=broker, world=self.world)
            await refuse_foreign_policies(vhost_topology(), session=session, known=None)
            await declare(vhost_topology(), session=session)
            await session.rosters.tend(await session.inventory())
            await link.listen()
        except BaseException:
            await link.close()
            raise
        return session

    async def _owner(self, broker: BrokerObject) -> str:
        while True:
            if self.world.is_complete:
                return owner_name(cluster=self.world.cluster, broker=broker.name, uid=broker.uid)
            await asyncio.sleep(0.05)  # it is not yet known which cluster this is

    async def _address(self, spec: BrokerSpec) -> Address:
        """Return the address that the spec and the Secrets give now."""
        secret = await self._secret(spec.secret_ref, field="spec.secretRef")
        authority = None
        if spec.tls and spec.tls.ca_secret_ref:
            authority = await self._secret(spec.tls.ca_secret_ref, field="spec.tls.caSecretRef")
        return address(spec, secret, authority=authority)

    async def _secret(self, reference: SecretReference, *, field: str) -> Mapping[str, str]:
        secret = await self.cluster.secret(namespace=reference.namespace, name=reference.name)
        if secret is None:
            raise Transient(
                f"there is no Secret {reference.namespace}/{reference.name}, which {field} names",
                reason="SecretNotFound",
            )
        return secret.data


async def _is_upgraded(session: Session) -> bool:
    """Return whether all nodes have another version by now; False if that is unknown."""
    try:
        return await session.link.version_now() != session.link.version
    except OperatorError:
        return False


async def _alarm(session: Session) -> Trouble | None:
    """Return the alarm that is in effect now; the previous one if that is unknown."""
    try:
        return alarm_trouble(await session.link.alarms_now())
    except OperatorError:
        return session.alarm


async def _close(session: Session) -> None:
    """Close the session's link; log any error."""
    try:
        await session.link.close()
    except Exception:
        log.exception("session-not-closed", address=str(session.address))


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, OperatorError):
        return error.trouble
    return Trouble(reason="InternalError", message=f"{type(error).__name__}: {error}")
