"""Declares the missing part of a topology: observe, plan, write."""

import asyncio
from dataclasses import replace
from functools import partial

from longshore_operator.app.sessions.session import Session
from longshore_operator.core.rabbitmq.inventory import Inventory
from longshore_operator.core.rabbitmq.topology import Topology
from longshore_operator.errors import Invalid


async def declare(topology: Topology, *, session: Session) -> Topology:
    """Make RabbitMQ's objects match `topology`, and return those that were written."""
    inventory = await session.inventory()
    missing = inventory.missing(topology)
    if inventory.is_new(missing) and await _is_there(missing, session=session):
        session.doubt()
        inventory = await session.inventory()
        missing = inventory.missing(topology)
    if missing == Topology():
        return missing
    if foreign := inventory.foreign_queues(missing):
        raise Invalid(
            f"{'; '.join(foreign)} was made by somebody else and is left alone; delete or rename "
            "it, or take it over by spec.queue.name of a new TaskQueue",
            reason="QueueDiffers",
        )
    if exchanges := inventory.foreign_exchanges(missing):
        ours = [each for each in missing.exchanges if each.name in inventory.exchanges]
        raise Invalid(
            f"{'; '.join(map(str, exchanges))} was made by somebody else and is left alone; "
            f"Longshore needs {'; '.join(map(str, ours))}: delete the existing one",
            reason="ExchangeDiffers",
        )
    rest = replace(missing, listed=())
    try:
        if missing.listed:
            # First, so that no queue ever lacks its policy.
            await session.rosters.enlist(missing.listed)
        if rest != Topology() and inventory.is_new(rest):
            await session.management.create(rest)
        elif rest != Topology():
            await session.management.apply(rest)
    except BaseException:
        session.doubt()
        raise
    session.note(partial(Inventory.add, written=rest))
    return missing


async def _is_there(wanted: Topology, *, session: Session) -> bool:
    """Return whether a queue exists that the last bulk reading, a moment ago, does not contain.

    An import of definitions would leave such a queue as it is, and would not report that its
    arguments differ.
    """
    found = await asyncio.gather(
        *(session.management.has_queue(queue.name) for queue in wanted.queues)
    )
    return any(found)


async def refuse_foreign_policies(
    topology: Topology, *, session: Session, known: Topology | None
) -> None:
    """Raise Invalid if a foreign policy has the name of one of ours.

    `known` is what we declared before. A policy of ours that differs now was changed, and is
    repaired.
    """
    ours = {policy.name for policy in known.policies} if known else set()
    taken = [
        name for name in (await session.inventory()).foreign_policies(topology) if name not in ours
    ]
    if taken:
        raise Invalid(
            f"policy {taken[0]!r} already exists for other queues, so somebody else uses the name; "
            "rename that policy: Longshore does not overwrite it",
            reason="PolicyNameTaken",
        )
