"""Publishes jobs as a producer does: RabbitMQ confirms each, or the refusal is described."""

import asyncio

from longshore.amqp.connection import Connection
from longshore.amqp.errors import TOO_LARGE, Lost, Unsendable
from longshore.amqp.lane import Lane
from longshore.amqp.publication import Publication
from longshore_operator.adapters.rabbitmq.dial import answered
from longshore_operator.errors import Invalid, Transient


class JobPublisher:
    """Publishes over a connection that it does not own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lane: Lane | None = None
        self._turn = asyncio.Lock()
        """One job at a time: RabbitMQ does not report because of which job it closes a channel."""

    async def publish(self, job: Publication) -> None:
        """Return once a queue has the job.

        Raises Invalid for a job that AMQP cannot carry or that RabbitMQ finds too large, and
        Transient in all other cases. The job may then be stored or not, and is published again
        under the same id.
        """
        what = f"a job for {job.key}"
        if self._connection.is_blocked:
            raise Transient(f"{what}: RabbitMQ accepts no messages for now", reason="Blocked")
        try:
            async with answered(f"publish {what}"):
                problem = await self._published(job)
        except Unsendable as error:
            raise Invalid(f"{what}: {error}", reason="JobInvalid") from error
        if problem is not None:
            raise Transient(f"{what}: {problem}", reason="Unpublished")

    async def _published(self, job: Publication) -> str | None:
        """Return what went wrong; None if it was confirmed. Raises Unsendable and Lost."""
        async with self._turn:
            if self._lane is None or not self._lane.is_open:
                self._lane = await Lane.open(self._connection)
            lane = self._lane
            try:
                return await lane.publish(job)
            except asyncio.CancelledError:
                lane.give_up("no confirm in time")  # otherwise kept for the lane's lifetime
                raise
            except Lost as error:
                if lane.end and lane.end.code == TOO_LARGE:
                    raise Unsendable(lane.end.cause) from error
                raise
