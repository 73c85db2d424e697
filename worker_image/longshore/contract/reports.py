"""What a worker reports to the operator: over RabbitMQ, a small JSON message on each change; and
while it does not consume, the reason at `/readyz`, if it is known."""

from typing import Annotated

import msgspec
from msgspec import Meta

from longshore.contract.orders import CordonId, OrderKind

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
# Bounded, because handlers have their worker's credentials and may send anything.

REPORT_INTERVAL = 2.0
"""Seconds between reports when nothing changes; a report is also sent at once on a change."""

STALE_AFTER = 10.0
"""Seconds after which a silent worker's state is unknown, which never counts as idle."""

MOST_SAID = 500
"""Most characters of a reason, which ends up in a condition's message."""

_TROUBLE = "trouble: "


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True):
    """State of one worker. Counters start at 0 with the worker and only grow."""

    queue: Annotated[str, Meta(max_length=255)]
    worker: Annotated[str, Meta(max_length=253)]
    """The pod's name."""

    started_at: Count
    """ms since the epoch; it also shows that a container was restarted in the same pod."""

    slots: Count
    busy: Count
    """Slots with a running job."""

    held: Count
    """Jobs delivered but not yet acked: they are running, waiting, or being settled."""

    draining: bool = False
    cordon: CordonId | None = None
    """The cordon that is in force (`contract.orders`): no job arrives until it ends."""

    understands: Annotated[tuple[OrderKind, ...], Meta(max_length=32)] = ()
    """The kinds of orders that it obeys (`contract.orders`): workers may be older or newer than the
    operator."""

    succeeded: Count = 0
    failed: Count = 0
    """Attempts that failed and were scheduled again."""

    dead: Count = 0
    """Jobs sent to the dead-letter queue."""

    ran: Count = 0
    """Attempts that were run, whatever their outcome."""

    run_seconds: Seconds = 0.0
    """Seconds that these attempts took in total."""

    wait: Seconds | None = None
    """Seconds from the enqueue of a job to the start of its first attempt, for the job that began
    last. Delayed jobs do not count."""

    consuming_at: Count | None = None
    """ms since the epoch when it was ready for its first job."""

    cpu_ran: Seconds | None = None
    """Seconds of CPU that its main thread had used by `consuming_at`; None if the kernel does not
    report it."""

    cpu_waited: Seconds | None = None
    """Seconds by then for which it was ready to run but waited for a CPU."""


def not_consuming(trouble: str) -> bytes:
    """Return the body of the answer; `trouble` is empty while nothing is wrong, e.g. during a
    start."""
    line = " ".join(trouble.split())[:MOST_SAID]
    return f"not consuming\n{_TROUBLE}{line}\n".encode() if line else b"not consuming\n"


def trouble_in(body: bytes) -> str:
    """Return why the worker that gave this answer does not consume; empty if it does not say."""
    for line in body.decode(errors="replace").splitlines():
        if line.startswith(_TROUBLE):
            return line.removeprefix(_TROUBLE)[:MOST_SAID]
    return ""
