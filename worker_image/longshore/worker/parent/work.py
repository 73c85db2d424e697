"""A job on its way through the worker."""

import math
from dataclasses import dataclass

from longshore.contract.message import Message
from longshore.worker.frames import JobFrame
from longshore.worker.parent.subscription import Delivery


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """A delivery that is a job. `ticket` is the parent's own number for it."""

    ticket: int
    delivery: Delivery
    message: Message
    max_attempts: int
    hard_limit: float
    soft_limit: float = math.inf

    def frame(self) -> JobFrame:
        """The job as its child gets it."""
        message = self.message
        return JobFrame(
            ticket=self.ticket,
            id=message.id,
            handler=message.handler,
            attempt=message.attempt,
            max_attempts=self.max_attempts,
            enqueued_at=message.enqueued_at,
            hard_limit=self.hard_limit,
            body=message.body,
            traceparent=message.traceparent,
            headers=message.headers,
        )

    def fields(self) -> dict[str, object]:
        """What every line of the log says about a job."""
        message = self.message
        return {"job": message.id, "handler": message.handler, "attempt": message.attempt}
