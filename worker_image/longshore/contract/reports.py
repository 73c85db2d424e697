"""What a worker tells the operator: over RabbitMQ one small JSON message on each change, and at
`/readyz`, while it does not consume, a line and why if it knows."""

from typing import Annotated

import msgspec
from msgspec import Meta

from longshore.contract.orders import CordonId, OrderKind

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
# Bounded, as handlers have their worker's credentials, and may say anything.

REPORT_INTERVAL = 2.0
"""Seconds between reports when nothing changes; a report is also sent at once on a change."""

STALE_AFTER = 10.0
"""Seconds after which a silent worker's state is unknown. Unknown is never taken for idle."""

MOST_SAID = 500
"""Characters of a reason; it ends up in a condition's message."""

_TROUBLE = "trouble: "


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    """State of one worker. Counters start at 0 with the worker and only grow."""

    queue: Annotated[str, Meta(max_length=255)]
    worker: Annotated[str, Meta(max_length=253)]
    """The pod's name."""

    started_at: Count
    """ms since the epoch; also tells a container that was started again in the same pod."""

    slots: Count
    busy: Count
    """Slots with a running job."""

    held: Count
    """Jobs delivered and not yet acked: those running, waiting, and being settled."""

    draining: bool = False
    cordon: CordonId | None = None
    """The cordon that is in force (`contract.orders`): from now on no job comes until it ends."""

    understands: Annotated[tuple[OrderKind, ...], Meta(max_length=32)] = ()
    """Kinds of the orders that it obeys (`contract.orders`): workers may be older than the
    operator, and newer."""

    succeeded: Count = 0
    failed: Count = 0
    """Attempts that ended badly and were scheduled again."""

    dead: Count = 0
    """Jobs sent to the dead-letter queue."""

    ran: Count = 0
    """Attempts that were run to whatever end."""

    run_seconds: Seconds = 0.0
    """What those took, together."""

    wait: Seconds | None = None
    """Seconds from enqueue to start of the first attempt that was started last. Delayed jobs do not
    count."""

    consuming_at: Count | None = None
    """ms since the epoch when it was ready for its first job."""

    cpu_ran: Seconds | None = None
    """What its main thread had of a CPU until `consuming_at`; None where no kernel tells."""

    cpu_waited: Seconds | None = None
    """In which it could have run until then, but others had the CPUs."""


def not_consuming(trouble: str) -> bytes:
    """The body of the answer; `trouble` is empty while nothing is wrong, as during a start."""
    line = " ".join(trouble.split())[:MOST_SAID]
    return f"not consuming\n{_TROUBLE}{line}\n".encode() if line else b"not consuming\n"


def trouble_in(body: bytes) -> str:
    """Why the worker that answered so does not consume; empty when it does not say."""
    for line in body.decode(errors="replace").splitlines():
        if line.startswith(_TROUBLE):
            return line.removeprefix(_TROUBLE)[:MOST_SAID]
    return ""
