"""Reads the depth of each queue by passive declare, which is exact and takes 0.1 ms a queue."""

import asyncio
from collections.abc import Iterable, Mapping

from longshore.amqp.connection import Connection
from longshore.amqp.errors import NOT_FOUND, Lost
from longshore_operator.core.rabbitmq.depth import Depth, Missing

CHANNELS = 4
"""Channels of one look. A queue whose leader does not answer takes 250 ms; not all should wait."""

AT_ONCE = 50
"""Declares in progress on one channel. RabbitMQ answers them in order."""

DEADLINE = 5.0
"""Seconds for one look at all queues; the depth of queues not read by then is unknown."""


class Depths:
    """Reads depths over a connection that it does not own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = 0

    async def read(
        self, queues: Iterable[str], *, channels: int = CHANNELS
    ) -> Mapping[str, Depth | Missing]:
        """Return the depths of `queues`, read over at most `channels` channels. The depth of a
        queue that is missing in the answer is unknown."""
        waiting, found = list(queues), dict[str, Depth | Missing]()
        if not waiting:
            return found
        # Start elsewhere each time, so that slow queues do not always delay the same ones.
        self._turn = (self._turn + len(waiting) // 3 + 1) % len(waiting)
        waiting = waiting[self._turn :] + waiting[: self._turn]
        lanes = min(channels, len(waiting))
        share = min(AT_ONCE, -(-len(waiting) // lanes))
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(
                    *(self._drain(waiting, found, share=share) for _ in range(lanes))
                )
        except (TimeoutError, Lost):
            pass  # queues missing in the answer are unknown, as promised
        return dict(found)  # a copy, because later answers would be out of date

    async def _drain(
        self, waiting: list[str], found: dict[str, Depth | Missing], *, share: int
    ) -> None:
        channel, asked = None, list[str]()

        def note(queue: str, ready: int, consumers: int) -> None:
            asked.remove(queue)
            found[queue] = Depth(ready=ready, consumers=consumers)

        try:
            while asked or waiting:
                if not asked:
                    asked, waiting[:] = waiting[-share:], waiting[:-share]
                if channel is None or not channel.is_open:
                    channel = await self._connection.channel()
                end = await channel.declare_passively(tuple(asked), note)
                if end is not None:
                    # The first unanswered queue was refused. The others are asked for again.
                    refused = asked.pop(0)
                    if end.code == NOT_FOUND:
                        found[refused] = Missing()
        finally:
            if channel is not None:
                channel.close()
