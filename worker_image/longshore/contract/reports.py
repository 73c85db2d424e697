"""What a worker tells the operator, over RabbitMQ: one small JSON message on each change."""

from pydantic import BaseModel, ConfigDict

REPORT_INTERVAL = 2.0
"""Seconds between reports when nothing changes; a report is also sent at once on a change."""

STALE_AFTER = 10.0
"""Seconds after which a silent worker's state is unknown. Unknown is never taken for idle."""


class WorkerReport(BaseModel):
    """State of one worker. Counters start at 0 with the worker and only grow."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    queue: str
    worker: str
    """The pod's name."""

    started_at: int
    """ms since the epoch; also tells a container that was started again in the same pod."""

    slots: int
    busy: int
    """Slots with a running job."""

    held: int
    """Jobs delivered and not yet acked: those running, waiting, and being settled."""

    draining: bool = False
    cordon: str | None = None
    """The cordon that is in force (`contract.orders`): from now on no job comes until it ends."""

    succeeded: int = 0
    failed: int = 0
    """Attempts that ended badly and were scheduled again."""

    dead: int = 0
    """Jobs sent to the dead-letter queue."""

    ran: int = 0
    """Attempts that were run to whatever end."""

    run_seconds: float = 0.0
    """What those took, together."""

    wait: float | None = None
    """Seconds from enqueue to start of the first attempt that was started last. Delayed jobs do not
    count."""

    consuming_at: int | None = None
    """ms since the epoch when it was ready for its first job."""
