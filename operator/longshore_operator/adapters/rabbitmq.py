"""One open RabbitMQ: management, depths, worker reports."""

import time

from longshore_operator.adapters.amqp import Connection
from longshore_operator.adapters.amqp import connect as connect_amqp
from longshore_operator.adapters.depths import Depths
from longshore_operator.adapters.fleet import Fleet
from longshore_operator.adapters.management import Management
from longshore_operator.core.credentials import Address


class RabbitMQ:
    """A link as `app.broker` wants it."""

    def __init__(
        self, *, management: Management, connection: Connection, orders: Connection, version: str
    ) -> None:
        self.management = management
        self.version = version
        self.depths = Depths(connection)
        self.fleet = Fleet(clock=time.monotonic)
        self._connection = connection
        self._orders = orders

    @property
    def is_lost(self) -> bool:
        """Whether it must be opened anew."""
        return self._connection.is_lost or self._orders.is_lost or self.fleet.is_cut_off

    async def listen(self) -> None:
        """Take worker reports and give orders; their exchanges must be there."""
        await self.fleet.listen(self._connection, orders=self._orders)

    async def close(self) -> None:
        """Close everything."""
        await self._connection.close()
        await self._orders.close()
        await self.management.close()


async def connect(address: Address, /, *, heartbeat: float) -> RabbitMQ:
    """Open a link and make the vhost if it is missing. Raises Transient or Invalid."""
    management = Management(address)
    try:
        version = await management.version()
        await management.ensure_vhost()
        url = address.amqp_url(username=address.username, password=address.password)
        connection = await connect_amqp(url, name="longshore-operator", heartbeat=heartbeat)
        try:
            orders = await connect_amqp(url, name="longshore-operator orders", heartbeat=heartbeat)
        except BaseException:
            await connection.close()
            raise
    except BaseException:
        await management.close()
        raise
    return RabbitMQ(management=management, connection=connection, orders=orders, version=version)
