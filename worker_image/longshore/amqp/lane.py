"""A channel in confirm mode, with the publications that the broker has not confirmed yet."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from longshore.amqp.channel import Channel, resolve
from longshore.amqp.connection import Connection
from longshore.amqp.errors import End, Lost, Unsendable
from longshore.amqp.publication import Properties, Publication

CONFIRM_TIMEOUT = 60.0
"""Seconds without a confirm after which the channel is given up and the message sent again."""


class Lane:
    """A channel in confirm mode. Its end is reported to all publications still unconfirmed."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._unconfirmed: dict[int, _Unconfirmed] = {}
        channel.on_end(self._on_end)

    @classmethod
    async def open(cls, connection: Connection) -> "Lane":
        """Open a lane on a new channel. Raises Lost."""
        channel = await connection.channel()
        lane = cls(channel)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            channel.confirm(
                lane._on_confirm,
                on_return=lane._on_return,
                on_started=lambda: resolve(started, None),
            )
            await connection.answer(started, of=channel)
        except BaseException as error:  # also if the caller is cancelled
            lane.give_up(str(error) or "cancelled")
            raise
        return lane

    @property
    def is_open(self) -> bool:
        """Whether the lane accepts publications."""
        return self._channel.is_open

    @property
    def end(self) -> End | None:
        """The reason for its end, once it has ended."""
        return self._channel.end

    def on_end(self, callback: Callable[[End], None]) -> None:
        """Have `callback` called when the lane ends."""
        self._channel.on_end(callback)

    async def publish(self, publication: Publication) -> str | None:
        """Publish; return what went wrong, or None once the message is confirmed.

        Raises Unsendable if AMQP cannot carry the message, and Lost if the lane has ended, when the
        broker may or may not have it.
        """
        properties = _encodable(publication, frame_max=self._channel.frame_max)
        self._channel.publish(
            publication.exchange, publication.key, publication.body, properties, mandatory=True
        )
        settled: asyncio.Future[str | End | None] = asyncio.get_running_loop().create_future()
        self._unconfirmed[next(self._numbers)] = _Unconfirmed(publication, properties, settled)
        done, _ = await asyncio.wait({settled}, timeout=CONFIRM_TIMEOUT)
        if not done:
            self.give_up(f"no confirm within {CONFIRM_TIMEOUT:g} s")
        problem = settled.result()
        if isinstance(problem, End):
            raise Lost(f"unconfirmed: {problem.cause}")
        return problem

    def give_up(self, cause: str) -> None:
        """Close the channel; report its end at once."""
        self._channel.close()
        self._channel.ended(End(cause=cause))

    def _on_end(self, end: End) -> None:
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for waiting in unconfirmed.values():
            resolve(waiting.settled, end)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        problem = None if method.NAME == "Basic.Ack" else "nacked by the broker"
        if method.multiple:
            numbers = [number for number in self._unconfirmed if number <= method.delivery_tag]
        else:
            numbers = [method.delivery_tag]
        for number in numbers:
            if waiting := self._unconfirmed.pop(number, None):
                resolve(waiting.settled, waiting.returned or problem)

    def _on_return(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        # The broker returns a message before it confirms it, and does not say which one it is. So
        # take the oldest equal one; if there are two, both are unroutable.
        for waiting in self._unconfirmed.values():
            sent = waiting.publication
            if (
                waiting.returned is None
                and (sent.exchange, sent.key) == (method.exchange, method.routing_key)
                and waiting.properties.message_id == properties.message_id
                and sent.body == body
            ):
                waiting.note_return(f"unroutable: {method.reply_code} {method.reply_text}")
                return


class _Unconfirmed:
    """A message in flight. Its future gets None when it is confirmed, else the problem, or the end
    of the lane."""

    def __init__(
        self,
        publication: Publication,
        properties: Properties,
        settled: "asyncio.Future[str | End | None]",
    ) -> None:
        self.publication = publication
        self.properties = properties
        self.settled = settled
        self.returned: str | None = None

    def note_return(self, problem: str) -> None:
        """Record that the broker has returned the message; its confirm follows."""
        self.returned = problem


def _encodable(publication: Publication, *, frame_max: int) -> Properties:
    """Return the properties. Raises Unsendable if they cannot be encoded or exceed one frame.

    The broker would close the connection because of the latter, with all other publications on it.
    """
    try:
        properties = Properties(**publication.properties)
        size = _CONTENT_HEADER + sum(map(len, properties.encode()))
    # pika passes on errors of struct, decimal and codecs, and RecursionError.
    except Exception as error:
        raise Unsendable(f"{type(error).__name__}: {error}") from None
    if size > frame_max - _FRAME_EDGES:
        raise Unsendable(
            f"properties and headers take {size} bytes; at most {frame_max - _FRAME_EDGES} fit "
            "into a frame"
        )
    return properties


_FRAME_EDGES = 8
_CONTENT_HEADER = 12
