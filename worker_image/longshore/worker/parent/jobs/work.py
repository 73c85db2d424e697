"""A job on its way through the worker."""

import math
from dataclasses import dataclass

from longshore.contract.message import Message
from longshore.worker.parent.broker.subscription import Delivery
from longshore.worker.wire.frames import JobFrame


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """A delivery that contains a job. `ticket` is the parent's own number for it."""

    ticket: int
    delivery: Delivery
    message: Message
    max_attempts: int
    hard_limit: float
    soft_limit: float = math.inf

    def frame(self) -> JobFrame:
        """Return the job as its child gets it."""
        message = self.message
        # By position, which takes half the time.
        return JobFrame(
            self.ticket,
            message.body,
            message.id,
            message.handler,
            message.attempt,
            self.max_attempts,
            message.enqueued_at,
            self.hard_limit,
            message.traceparent,
            message.headers,
        )

    def fields(self) -> dict[str, object]:
        """Return the fields that every log line about a job has."""
        message = self.message
        return {"job": message.id, "handler": message.handler, "attempt": message.attempt}
