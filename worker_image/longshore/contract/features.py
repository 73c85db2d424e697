"""Features of RabbitMQ versions: the only place where behaviour depends on the version.

Figures were measured on RabbitMQ 4.0.5 and 4.3.6.
"""

import re
from dataclasses import dataclass

OLDEST = (4, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Differences between RabbitMQ versions that change what Longshore does."""

    ack_timeout_by_consumer: bool
    """`basic.consume` accepts `x-consumer-timeout`; in older versions, a policy sets the ack
    timeout."""

    ack_timeout_resolution: float
    """Seconds by which the ack timeout may fire late."""

    nack_is_free: bool
    """`basic.nack` returns a job without raising its delivery count."""

    cancelled_are_freed: bool
    """When a node ends, its quorum queues take back what cancelled consumers held there. In older
    versions, no worker gets these jobs until another node leads the queue (4.0.5; according to the
    sources of 4.1 and 4.2 too)."""

    strict_priorities: bool
    """Quorum queues order 32 priorities strictly; older versions have two classes at 2:1."""


def features_of(version: str) -> Features:
    """Return the features of RabbitMQ `version`, e.g. `4.3.6`.

    Raises ValueError if it is not a version, or is older than what Longshore supports.
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if not match:
        raise ValueError(f"{version!r} is not a RabbitMQ version")
    number = (int(match[1]), int(match[2]))
    if number < OLDEST:
        raise ValueError(f"RabbitMQ {version} is too old; Longshore needs 4.0 or newer")
    since_4_3 = number >= (4, 3)
    return Features(
        ack_timeout_by_consumer=since_4_3,
        ack_timeout_resolution=0.0 if since_4_3 else 60.0,
        nack_is_free=since_4_3,
        cancelled_are_freed=since_4_3,
        strict_priorities=since_4_3,
    )
