"""Finds out for certain whether a quorum queue holds jobs. No single answer of RabbitMQ shows it.

- A passive declare counts ready jobs exactly, but also returns 0 if the leader does not answer.
- The count in the management API is as old as the leader's last look. That is up to 5 s by default,
  and an administrator may configure rarer looks.
- RabbitMQ deletes no quorum queue "if empty" (540 NOT_IMPLEMENTED; 4.0.5, 4.3.6).

So Longshore consumes from the queue, with a number of consumers that the queue is unlikely to have
by chance. Registering them takes a quorum, and every answer that counts them was given after that.
If there are no other consumers, nothing else can hold a job, and a job that becomes ready is
delivered here. Jobs that RabbitMQ moves to the dead letters have no consumer: only the leader's own
count includes them, so the scrutiny waits until that count shows these consumers.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from longshore.amqp.channel import Channel
from longshore.amqp.connection import Connection
from longshore.amqp.errors import NOT_FOUND
from longshore_operator.adapters.rabbitmq.dial import answered
from longshore_operator.core.rabbitmq.depth import Count, Depth
from longshore_operator.errors import Transient

CONSUMERS = range(2, 9)
"""How many consumers are registered on a queue; the number is random."""

LEAVE_WITHIN = 5.0
"""Seconds until consumers are gone whose connections RabbitMQ has just closed."""

COUNT_WITHIN = 150.0
"""Seconds until the leader's count is recent enough; allows for one look per 60 s."""

MOVE_WITHIN = 20.0
"""Seconds for jobs on their way to the dead letters to arrive, or twice the time until the first
recent count, if that is longer."""

PAUSES = (0.2, 0.5, 1.0)
"""Seconds between looks; the last one is repeated."""


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A queue that is consumed from."""

    channel: Channel
    consumers: int
    tags: list[str] = field(default_factory=list)
    """Tags of the consumers."""

    deliveries: list[int] = field(default_factory=list)
    """Tags of the jobs that were delivered."""


class Scrutiny:
    """Looks at queues over a connection of its own, because RabbitMQ closes it if a queue has no
    quorum. `count` returns the leader's count."""

    def __init__(
        self, connection: Connection, *, count: Callable[[str], Awaitable[Count | None]]
    ) -> None:
        self._connection = connection
        self._count = count
        self._watched: dict[str, _Watched] = {}

    async def has_ready(self, queue: str) -> bool:
        """Return whether the queue has ready jobs. True is certain; False may mean unknown."""
        found = await self._declare(queue)
        return found is not None and found.ready > 0

    async def is_empty(self, queue: str, *, dead_letters: bool) -> bool:
        """Return whether the queue holds no job: none that is ready or unacked and, with
        `dead_letters`, none on its way to the dead letters. True if the queue does not exist.

        Raises Transient if the answer cannot be found out.
        """
        watched = await self._watch(queue)
        if watched is None:
            return True
        if not await self._is_ours_alone(queue, watched):
            return False
        return not dead_letters or await self._counts_none(queue, watched)

    async def stays_empty(self, queue: str) -> bool:
        """Return whether no job has arrived since `is_empty` returned True.

        Raises Transient if the answer cannot be found out.
        """
        watched = self._watched.get(queue)
        return watched is None or await self._has_none(watched)

    async def give_back(self) -> None:
        """Return delivered jobs to their queues, by nack, which charges no delivery from 4.3 on."""
        for watched in self._watched.values():
            if not (watched.channel.is_open and watched.deliveries):
                continue
            async with answered("end consumers"):
                for tag in watched.tags:  # otherwise the jobs would be delivered here again
                    await watched.channel.stop_consumer(tag)
            for delivery in watched.deliveries:
                watched.channel.give_back(delivery)

    async def _watch(self, queue: str) -> _Watched | None:
        """Consume from the queue; return None if it does not exist."""
        async with answered("open a channel"):
            channel = await self._connection.channel()
        # Not a secret, only unlikely to be the number of existing consumers.
        watched = _Watched(channel=channel, consumers=random.choice(CONSUMERS))  # noqa: S311

        def take(_channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
            watched.deliveries.append(method.delivery_tag)

        try:
            async with answered(f"consume from queue {queue}"):
                await channel.set_prefetch(1)
                for _ in range(watched.consumers):
                    watched.tags.append(await channel.start_consumer(queue, take))
        except Transient:
            if channel.end and channel.end.code == NOT_FOUND:
                return None
            raise
        self._watched[queue] = watched
        return watched

    async def _is_ours_alone(self, queue: str, watched: _Watched) -> bool:
        """Return whether there is no other consumer and no ready job, hence no unacked job."""
        until = time.monotonic() + LEAVE_WITHIN
        for pause in _pauses():
            found = await self._declare(queue)
            if watched.deliveries or (found is not None and found.ready):
                return False
            consumers = found.consumers if found else 0
            if consumers == watched.consumers:
                return await self._has_none(watched)
            if time.monotonic() > until:
                break
            await asyncio.sleep(pause)
        if consumers > watched.consumers:
            return False  # another consumer exists, and may hold a job
        raise Transient(f"the leader of queue {queue} does not answer", reason="DepthUnknown")

    async def _has_none(self, watched: _Watched) -> bool:
        """Return whether nothing was delivered, including what was on its way over this channel.

        A member of the queue on another node may deliver a moment later than its leader counts.

        Raises Transient if the channel has closed.
        """
        if watched.deliveries:
            return False
        if not watched.channel.is_open:
            raise Transient("the connection was lost meanwhile", reason="Unreachable")
        # Does not affect existing consumers, and the answer arrives after all deliveries.
        async with answered("settle a channel"):
            await watched.channel.set_prefetch(1)
        return not watched.deliveries

    async def _counts_none(self, queue: str, watched: _Watched) -> bool:
        """Return whether a count that is recent enough is 0."""
        began = time.monotonic()
        is_young, until = False, began + COUNT_WITHIN
        for pause in _pauses():
            if watched.deliveries:
                return False
            count = await self._count(queue)
            if count is not None and count.consumers == watched.consumers:
                if not count.jobs:
                    return not watched.deliveries
                if not is_young:
                    is_young, now = True, time.monotonic()
                    until = now + max(MOVE_WITHIN, 2 * (now - began))
            if time.monotonic() > until:
                break
            await asyncio.sleep(pause)
        if is_young:
            return False
        raise Transient(
            f"RabbitMQ has not counted the jobs of queue {queue} anew in {COUNT_WITHIN:g} s: check "
            "that its management statistics are enabled",
            reason="DepthUnknown",
        )

    async def _declare(self, queue: str) -> Depth | None:
        """Return what a passive declare answers; None if there is no such queue."""
        found: list[Depth] = []

        def note(_queue: str, ready: int, consumers: int) -> None:
            found.append(Depth(ready=ready, consumers=consumers))

        async with answered(f"look at queue {queue}"):
            channel = await self._connection.channel()
            try:
                end = await channel.declare_passively([queue], note)
            finally:
                channel.close()
        if found:
            return found[0]
        if end and end.code == NOT_FOUND:
            return None
        cause = end.cause if end else "no answer"
        raise Transient(f"cannot look at queue {queue}: {cause}", reason="Unreachable")


@asynccontextmanager
async def scrutiny(
    connection: Connection, *, count: Callable[[str], Awaitable[Count | None]]
) -> AsyncIterator[Scrutiny]:
    """Look at queues while the block lasts; give delivered jobs back at its end."""
    try:
        look = Scrutiny(connection, count=count)
        yield look
        await look.give_back()
    finally:
        await connection.close()  # returns the remaining jobs, too


def _pauses() -> Iterator[float]:
    return chain(PAUSES, repeat(PAUSES[-1]))
