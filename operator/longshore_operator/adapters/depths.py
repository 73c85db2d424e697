"""How many jobs wait in each queue, by passive declare: exact, and 0.2 ms a queue."""

import asyncio
from collections.abc import Iterable, Mapping

from pika.exceptions import AMQPError, ChannelClosedByBroker

from longshore_operator.adapters.amqp import Connection
from longshore_operator.app.broker import Depth, Missing
from longshore_operator.errors import OperatorError

CHANNELS = 4
"""Queues whose leader does not answer cost 250 ms each; they must not hold up all others."""

DEADLINE = 5.0
"""Seconds for one look at all queues; what was not read by then is unknown."""

_NOT_FOUND = 404


class Depths:
    """Reads depths over a connection that it does not own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = 0

    async def read(self, queues: Iterable[str]) -> Mapping[str, Depth | Missing]:
        """Depths of `queues`. One that is absent from the answer is unknown."""
        waiting, found = list(queues), dict[str, Depth | Missing]()
        if not waiting:
            return found
        # Others first each time: those behind too many that don't answer have their turn as well.
        self._turn = (self._turn + len(waiting) // 3 + 1) % len(waiting)
        waiting = waiting[self._turn :] + waiting[: self._turn]
        lanes = min(CHANNELS, len(waiting))
        try:
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*(self._drain(waiting, found) for _ in range(lanes)))
        except (TimeoutError, AMQPError, OperatorError):
            pass  # what is missing in the answer is unknown, as promised
        return found

    async def _drain(self, waiting: list[str], found: dict[str, Depth | Missing]) -> None:
        channel = None
        try:
            while waiting:
                queue = waiting.pop()
                if channel is None or not channel.is_open:
                    channel = await self._connection.channel()
                try:
                    answer = await channel.call(
                        channel.raw.queue_declare, queue=queue, passive=True
                    )
                except ChannelClosedByBroker as error:
                    if error.reply_code == _NOT_FOUND:
                        found[queue] = Missing()
                    continue
                found[queue] = Depth(
                    ready=answer.method.message_count, consumers=answer.method.consumer_count
                )
        finally:
            if channel is not None:
                channel.close()
