"""Publishes jobs as a producer does: each confirmed by RabbitMQ, or refused in words."""

from longshore.amqp.connection import Connection
from longshore.amqp.errors import Unsendable
from longshore.amqp.lane import Lane
from longshore.amqp.publication import Publication
from longshore_operator.adapters.rabbitmq.dial import answered
from longshore_operator.errors import Invalid, Transient


class JobPublisher:
    """Publishes over a connection that it does not own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lane: Lane | None = None

    async def publish(self, job: Publication) -> None:
        """Return once a queue has the job.

        Raises Invalid for what AMQP cannot carry, and Transient in all other cases: then the job
        may be stored or not, and is published again under the same id.
        """
        try:
            async with answered(f"publish to {job.key}"):
                if self._lane is None or not self._lane.is_open:
                    self._lane = await Lane.open(self._connection)
                problem = await self._lane.publish(job)
        except Unsendable as error:
            raise Invalid(f"a job for {job.key}: {error}", reason="JobInvalid") from error
        if problem is not None:
            raise Transient(f"a job for {job.key}: {problem}", reason="Unpublished")
