"""Why RabbitMQ confirms no job although it answers: alarms, and queues without a quorum."""

from collections.abc import Collection
from dataclasses import dataclass

from longshore_operator.trouble import Trouble

QUORUM_LOST_AFTER = 2.0
"""Seconds after which a queue whose majority of members is down is reported: nodes that are
restarted one after another may overlap for a moment."""

UNAVAILABLE_AFTER = 8.0
"""Seconds after which a queue is reported that does not answer although its members run. The
election of a new leader takes a few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A resource that a node of RabbitMQ lacks."""

    resource: str
    """`memory`, `disk`, or what later versions name."""

    node: str


def alarm_trouble(alarms: Collection[Alarm]) -> Trouble | None:
    """Return the consequence of these alarms; None if there is none. Only memory and disk alarms
    block publishers."""
    for reason, word, remedy in (
        (
            "MemoryAlarm",
            "memory",
            "let workers reduce the backlog, or raise vm_memory_high_watermark",
        ),
        ("DiskAlarm", "disk", "free disk space, or lower disk_free_limit"),
    ):
        nodes = sorted({alarm.node for alarm in alarms if word in alarm.resource.lower()})
        if nodes:
            return Trouble(
                reason=reason,
                message=f"RabbitMQ has a {word} alarm on {', '.join(nodes)}: it blocks publishers "
                f"on all nodes, and no job is confirmed until the alarm ends; {remedy}",
            )
    return None


def queue_trouble(queue: str, *, has_quorum: bool, silent_for: float) -> Trouble | None:
    """Return the consequence of a queue that has not answered for `silent_for` seconds; None if it
    is too early to report it."""
    if not has_quorum and silent_for >= QUORUM_LOST_AFTER:
        return Trouble(
            reason="QuorumLost",
            message=f"queue {queue} cannot be used: most of the nodes that hold it are down, so no "
            "job is confirmed or delivered until they are back",
        )
    if silent_for >= UNAVAILABLE_AFTER:
        return Trouble(
            reason="QueueUnavailable",
            message=f"queue {queue} has not answered for {UNAVAILABLE_AFTER:g} s although the "
            "nodes that hold it run: the number of waiting jobs is unknown, and new jobs may not "
            "be confirmed",
        )
    return None
