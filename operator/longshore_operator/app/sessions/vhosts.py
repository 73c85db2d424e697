"""Repairs what all TaskQueues of a virtual host share."""

from dataclasses import dataclass, replace

from longshore.contract.names import REPORTS_EXCHANGE
from longshore_operator.app.ports.kubernetes import Events
from longshore_operator.app.sessions.declaring import declare
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.world import World
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.topology import objects_in_words, vhost_topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Vhosts:
    """Exchanges, the delay ladder and the policies that name many queues."""

    world: World
    cluster: Events

    async def tend(
        self, name: str, session: Session, *, inventory: Inventory | None = None
    ) -> None:
        async with session.tending:
            await self._clear(session)
            repaired = await declare(vhost_topology(), session=session)
            if inventory is not None and self.world.is_complete:
                claimed = self.world.listed(broker=name)
                policies = await session.rosters.tend(inventory, claimed=claimed)
                repaired = replace(repaired, policies=(*repaired.policies, *policies))
        if REPORTS_EXCHANGE in {exchange.name for exchange in repaired.exchanges}:
            session.give_up()  # our binding to the old exchange is gone, so no reports would arrive
        broker, words = self.world.broker(name), ", ".join(objects_in_words(repaired))
        if words and broker is not None:
            await self.cluster.event(
                kind="Broker",
                namespace="default",  # where Kubernetes keeps events of cluster-wide objects
                name=name,
                uid=broker.uid,
                type="Warning",
                reason="DriftRepaired",
                message=f"restored, because they had been deleted or changed by hand: {words}",
            )

    async def _clear(self, session: Session) -> None:
        """Remove exchanges that were recreated with other flags since the session was opened.

        Their bindings are either gone already or will be made again.
        """
        for exchange in (await session.inventory()).foreign_exchanges(vhost_topology()):
            await session.management.delete_exchange(exchange.name)
            session.doubt()
