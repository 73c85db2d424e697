"""How many jobs wait in each queue, by passive declare: exact, and 0.1 ms a queue."""

import asyncio
from collections.abc import Iterable, Mapping

from longshore.amqp.connection import Connection
from longshore.amqp.errors import NOT_FOUND, Lost
from longshore_operator.core.rabbitmq.depth import Depth, Missing

CHANNELS = 4
"""Queues whose leader does not answer cost 250 ms each; they must not hold up all others."""

AT_ONCE = 50
"""Declares that are under way on one channel. RabbitMQ answers them in order."""

DEADLINE = 5.0
"""Seconds for one look at all queues; what was not read by then is unknown."""


class Depths:
    """Reads depths over a connection that it does not own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = 0

    async def read(
        self, queues: Iterable[str], *, channels: int = CHANNELS
    ) -> Mapping[str, Depth | Missing]:
        """Depths of `queues`, by so many channels at most. One that is absent from the answer is
        unknown."""
        waiting, found = list(queues), dict[str, Depth | Missing]()
        if not waiting:
            return found
        # Others first each time: those behind too many that don't answer have their turn as well.
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
            pass  # what is missing in the answer is unknown, as promised
        return dict(found)  # what comes later is old by then

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
                    # The first one without an answer. The others are asked for again.
                    refused = asked.pop(0)
                    if end.code == NOT_FOUND:
                        found[refused] = Missing()
        finally:
            if channel is not None:
                channel.close()
