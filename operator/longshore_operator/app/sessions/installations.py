"""Ensures that only one Broker uses a virtual host: two would fight over policies and passwords."""

from longshore.contract.names import INSTALLATION_EXCHANGE
from longshore.logs import Log
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TAKE_ANNOTATION, BrokerObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.rabbitmq.installation import broker_of, mark_of, vhost_owner_in
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.topology import Topology
from longshore_operator.errors import Invalid, OperatorError

log = Log(__name__)


async def claim(session: Session, *, broker: BrokerObject, world: World) -> None:
    """Mark the session's virtual host as `session.owner`'s.

    Raises Invalid if another owner has marked it. The mark is taken over from a Broker of this
    cluster that no longer exists, and from the owner that an annotation of `broker` names.
    """
    inventory = await session.inventory(max_age=0.0)
    found = owner(inventory)
    if found not in (None, session.owner) and _may_take(found, broker=broker, world=world):
        log.info("vhost-taken-over", broker=broker.name, previous_owner=found)
        await session.management.delete_exchange(INSTALLATION_EXCHANGE)
        found = None
    if found is None:
        await _mark(session)
        inventory = await session.inventory(max_age=0.0)
        found = owner(inventory)
    if found != session.owner:
        raise Invalid(_refusal(found or "", session=session, world=world), reason="VhostTaken")


async def keep(session: Session, inventory: Inventory) -> bool:
    """Return whether the virtual host is still the session's. A lost mark is made again."""
    found = owner(inventory)
    if found is None:
        await _mark(session)
        return True
    return found == session.owner


async def release(session: Session) -> None:
    """Release the virtual host, so that another Broker may claim it."""
    try:
        if owner(await session.inventory(max_age=0.0)) == session.owner:
            await session.management.delete_exchange(INSTALLATION_EXCHANGE)
    except OperatorError as error:
        log.warning("vhost-not-released", owner=session.owner, error=str(error))


def owner(inventory: Inventory) -> str | None:
    """Return the owner that the mark of a virtual host names; None if there is no mark."""
    mark = inventory.exchanges.get(INSTALLATION_EXCHANGE)
    return None if mark is None else vhost_owner_in(mark)


async def _mark(session: Session) -> None:
    try:
        # A PUT, not an import: an import would silently keep another owner's mark.
        await session.management.apply(Topology(exchanges=(mark_of(session.owner),)))
    except Invalid:
        session.doubt()  # somebody else was quicker


def _may_take(found: str | None, *, broker: BrokerObject, world: World) -> bool:
    if found is None or found == broker.takes_from:
        return True
    name = broker_of(found, cluster=world.cluster)
    if name is None or not world.is_complete:
        return False
    holder = world.broker(name)
    return holder is None or holder.spec.vhost != broker.spec.vhost


def _refusal(found: str, *, session: Session, world: World) -> str:
    vhost = session.address.vhost
    if not found:
        return (
            f"virtual host {vhost!r} has an exchange {INSTALLATION_EXCHANGE!r} that Longshore did "
            "not create; delete it, or name another virtual host in spec.vhost"
        )
    if (name := broker_of(found, cluster=world.cluster)) is not None:
        return (
            f"virtual host {vhost!r} belongs to Broker {name!r}; name another one in spec.vhost, "
            f"or delete that Broker; if Broker {name!r} has moved to another RabbitMQ and could "
            "not remove its mark from this one, annotate this Broker with "
            f"{TAKE_ANNOTATION}={found}"
        )
    return (
        f"virtual host {vhost!r} belongs to another installation of Longshore, {found}; name "
        "another one in spec.vhost, or delete the Broker of that installation; if its cluster no "
        f"longer exists, annotate this Broker with {TAKE_ANNOTATION}={found}"
    )
