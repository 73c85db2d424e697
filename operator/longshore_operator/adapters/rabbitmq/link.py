"""An open link to one RabbitMQ: management, depths, workers' reports."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from longshore.amqp.connection import Connection
from longshore.contract.features import features_of
from longshore.contract.timing import CONNECT_TIMEOUT
from longshore_operator.adapters.management.api import Management
from longshore_operator.adapters.rabbitmq.depths import Depths
from longshore_operator.adapters.rabbitmq.dial import connect_amqp
from longshore_operator.adapters.rabbitmq.fleet import Fleet
from longshore_operator.adapters.rabbitmq.jobs import JobPublisher
from longshore_operator.adapters.rabbitmq.scrutiny import Scrutiny, scrutiny
from longshore_operator.core.access.credentials import Address
from longshore_operator.core.rabbitmq.blockage import Alarm
from longshore_operator.errors import Invalid, Transient

NAME = "longshore-operator"
"""The name under which RabbitMQ lists our connection."""

SCRUTINIES = 256
"""Simultaneous connections for scrutinies of queues. Each scrutiny takes some seconds."""


class RabbitMQ:
    """A link as `app.ports.rabbitmq` defines it."""

    def __init__(
        self,
        *,
        management: Management,
        connection: Connection,
        orders: Connection,
        version: str,
        address: Address,
        heartbeat: float,
    ) -> None:
        self.management = management
        self.version = version
        self.depths = Depths(connection)
        self.fleet = Fleet(clock=time.monotonic)
        self.jobs = JobPublisher(orders)
        self._connection = connection
        self._orders = orders
        self._address, self._heartbeat = address, heartbeat
        self._scrutinies = asyncio.Semaphore(SCRUTINIES)

    @property
    def is_lost(self) -> bool:
        """Whether the link must be opened anew."""
        both = self._connection.is_open and self._orders.is_open
        return not both or self.fleet.is_cut_off

    async def listen(self) -> None:
        """Receive workers' reports and send orders; the exchanges for both must exist."""
        await self.fleet.listen(self._connection, orders=self._orders)

    async def version_now(self) -> str:
        """Return RabbitMQ's version, the lowest of its nodes'."""
        return await self.management.version()

    async def alarms_now(self) -> tuple[Alarm, ...]:
        """Return the alarms that are in effect on any of its nodes."""
        return await self.management.alarms()

    @asynccontextmanager
    async def scrutiny(self) -> AsyncIterator[Scrutiny]:
        """Find out whether queues hold jobs, over a separate connection, because RabbitMQ closes it
        if a queue has lost its quorum."""
        async with self._scrutinies:
            connection = await connect_amqp(
                self._address, name=f"{NAME} scrutiny", heartbeat=self._heartbeat
            )
            async with scrutiny(connection, count=self.management.count) as look:
                yield look

    async def close(self) -> None:
        """Close everything, even if one part cannot be closed."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.management.close)
            stack.push_async_callback(self._orders.close)
            stack.push_async_callback(self._connection.close)


async def connect(address: Address, /, *, heartbeat: float) -> RabbitMQ:
    """Open a link, and create the vhost if it is missing. Raises Transient or Invalid.

    Nothing is written until everything that can be wrong with the address has been checked.
    """
    management = Management(address)
    try:
        version = await _version(management, address)
        await management.ensure_administrator()
        await management.ensure_vhost()
        connection = await connect_amqp(address, name=NAME, heartbeat=heartbeat)
        try:
            orders = await connect_amqp(address, name=f"{NAME} orders", heartbeat=heartbeat)
        except BaseException:
            await connection.close()
            raise
    except BaseException:
        await management.close()
        raise
    return RabbitMQ(
        management=management,
        connection=connection,
        orders=orders,
        version=version,
        address=address,
        heartbeat=heartbeat,
    )


async def _version(management: Management, address: Address) -> str:
    try:
        version = await management.version()
    except Transient as error:
        if error.reason == "Unreachable" and await _listens(address):
            raise Transient(
                f"{error}; but AMQP at {address.host}:{address.port} answers: check that the "
                "plugin rabbitmq_management is enabled and that spec.managementURL is right",
                reason="ManagementUnreachable",
            ) from error
        raise
    try:
        features_of(version)
    except ValueError as error:
        raise Invalid(str(error), reason="VersionUnsupported") from error
    return version


async def _listens(address: Address) -> bool:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
