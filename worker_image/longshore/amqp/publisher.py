"""Publishes messages with confirms, on a connection of its own.

A broker that blocks publishers blocks the whole connection, acks included. So this connection is
not the one that consumes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from longshore.amqp.address import Parameters
from longshore.amqp.channel import resolve
from longshore.amqp.connection import Backoff, Connection
from longshore.amqp.dial import Dial
from longshore.amqp.errors import End, Lost, Unsendable
from longshore.amqp.lane import Lane
from longshore.amqp.publication import Publication
from longshore.logs import Log

MOST_STRIKES = 3
"""Connections that a publication may cost before it is blamed for their end. Other publications are
in flight on the same connection, and any of them may be the cause."""

log = Log("longshore.publisher")


async def _nothing(_connection: Connection) -> None:
    pass


class Publisher:
    """Publishes until confirmed, across nacks, returns, blocked and lost connections.

    A broker that closes a channel because of one message does not report which one it was, and all
    unconfirmed messages on the channel are lost. Each of them is then tried on a channel of its
    own, one after another. A message that ends this channel too is unsendable.

    `beside` runs beside each connection for as long as it lives. `on_loss` is called whenever a
    connection or its channel is lost. `refused` is called with the reason when the broker refuses
    us, and with an empty text once it accepts us.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        beside: Callable[[Connection], Awaitable[None]] = _nothing,
        on_loss: Callable[[], None] = lambda: None,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._beside = beside
        self._on_loss = on_loss
        self._dial = Dial(parameters, purpose="publish", refused=refused)
        self._connection: Connection | None = None
        self._lane: Lane | None = None
        self._open = asyncio.Event()
        self._trial = asyncio.Lock()

    @property
    def is_blocked(self) -> bool:
        """Whether the broker accepts no messages for now, because of a memory or disk alarm."""
        return self._connection is not None and self._connection.is_blocked

    async def run(self) -> None:
        """Keep the connection and the channel open until cancelled."""
        backoff = Backoff()
        while True:
            self._connection = connection = await self._dial.connect()
            beside = asyncio.ensure_future(self._beside(connection))
            try:
                while connection.is_open:
                    try:
                        cause = await self._serve(connection)
                        backoff.reset()
                    except Lost as error:
                        cause = str(error)
                        # No job depends on this connection, and another may answer.
                        await connection.close()
                    log.warning("publisher-lost", error=cause)
                    self._on_loss()
                    await backoff.pause()
            finally:
                beside.cancel()

    async def publish(self, publication: Publication, *, wanted: Callable[[], bool]) -> bool:
        """Return True once the broker has confirmed; False if it is no longer `wanted`.

        Raises Unsendable.
        """
        backoff = Backoff()
        strikes = 0
        while wanted():
            async with self._trial if strikes else contextlib.nullcontext():
                lane = await self._usable_lane()
                if not wanted():
                    return False
                attempt = self._alone(publication) if strikes else _along(lane, publication)
                problem, end = await attempt
            if problem is None:
                return True
            if end and end.code in _BLAMING:
                strikes += 1
                if strikes > (1 if end.is_of_channel else MOST_STRIKES):
                    raise Unsendable(problem)
            log.error(
                "publish-failed",
                exchange=publication.exchange,
                routing_key=publication.key,
                error=problem,
            )
            await backoff.pause()
        return False

    async def close(self) -> None:
        """Close the connection."""
        if self._connection:
            await self._connection.close()

    async def _usable_lane(self) -> Lane:
        while True:
            await self._open.wait()
            connection, lane = self._connection, self._lane
            if connection and connection.is_blocked:
                await connection.unblocked()
            elif lane and lane.is_open:
                return lane
            else:
                await asyncio.sleep(0.05)

    async def _alone(self, publication: Publication) -> "_Attempt":
        """Publish on a lane of its own, which nothing else can end."""
        connection = self._connection
        if connection is None:
            return "no connection", None
        try:
            lane = await Lane.open(connection)
        except Lost as error:
            return str(error), None
        try:
            return await _along(lane, publication)
        finally:
            lane.give_up("done")

    async def _serve(self, connection: Connection) -> str:
        """Keep a lane open until it is lost; return the cause. Raises Lost."""
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        lane = await Lane.open(connection)

        def lose(end: End) -> None:
            self._open.clear()
            resolve(lost, end.cause)

        self._lane = lane
        self._open.set()
        lane.on_end(lose)
        try:
            return await lost
        finally:
            self._lane = None


_Attempt = tuple[str | None, End | None]
"""What went wrong, or None, and the reason if the lane has ended meanwhile."""


async def _along(lane: Lane, publication: Publication) -> _Attempt:
    try:
        return await lane.publish(publication), None
    except Lost as error:
        return str(error), lane.end


_BLAMING = frozenset({406, 501, 502, 503, 504, 505, 506, 540, 541})
"""Reply codes that a message can cause. Not 403 and 404: rights and exchanges are restored."""
