"""The publishing side: messages, with confirms, on a connection of its own.

A broker that blocks publishers blocks the whole connection, acks included: hence not the one that
consumes.
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
"""Connections that a publication may cost before it counts as what they end of. Others are under
way on the same connection, and any of them may be the cause."""

log = Log("longshore.publisher")


async def _nothing(_connection: Connection) -> None:
    pass


class Publisher:
    """Publishes until confirmed, across nacks, returns, blocked and lost connections.

    A broker that closes a channel over one message takes all that are unconfirmed on it along, and
    does not tell which it was. Each of them is then tried on a channel of its own, one after
    another: the one that costs that too is unsendable.

    `beside` is what else lives on a connection, for as long as that does. `on_loss` is called
    whenever a connection or its channel is lost; `refused` is told why the broker does not let us
    in, and an empty text once it does.
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
        """Whether the broker takes no messages for now: an alarm about its memory or disk."""
        return self._connection is not None and self._connection.is_blocked

    async def run(self) -> None:
        """Keep connection and channel open until cancelled."""
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
        """Return True when the broker has confirmed; False once it is not `wanted` any more.

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
        """End the connection."""
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
        """Publish over a lane of its own, which nothing else can end."""
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
        """Have a lane open until it is lost; the cause. Raises Lost."""
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
"""What went wrong, None for nothing, and the end that the lane has come to meanwhile."""


async def _along(lane: Lane, publication: Publication) -> _Attempt:
    try:
        return await lane.publish(publication), None
    except Lost as error:
        return str(error), lane.end


_BLAMING = frozenset({406, 501, 502, 503, 504, 505, 506, 540, 541})
"""Reply codes that a message can bring about. Not 403 and 404: rights and exchanges come back."""
