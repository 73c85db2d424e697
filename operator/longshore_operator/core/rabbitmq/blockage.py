"""Why RabbitMQ confirms no job although it answers: alarms, and queues without a quorum."""

from collections.abc import Collection
from dataclasses import dataclass

from longshore_operator.trouble import Trouble

QUORUM_LOST_AFTER = 2.0
"""Seconds for which most members of a queue must have been down: nodes that are restarted in turn
may overlap for a moment."""

UNAVAILABLE_AFTER = 8.0
"""Seconds for which a queue whose members are there must not have answered. To elect a new leader
takes it a few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A resource that a node of RabbitMQ is short of."""

    resource: str
    """`memory`, `disk`, or what later versions name."""

    node: str


def alarm_trouble(alarms: Collection[Alarm]) -> Trouble | None:
    """What it means that these alarms are in effect. Only those of memory and disk block."""
    for reason, word, remedy in (
        ("MemoryAlarm", "memory", "have its jobs worked off, or raise vm_memory_high_watermark"),
        ("DiskAlarm", "disk", "free disk space, or lower disk_free_limit"),
    ):
        nodes = sorted({alarm.node for alarm in alarms if word in alarm.resource.lower()})
        if nodes:
            return Trouble(
                reason=reason,
                message=f"RabbitMQ has a {word} alarm on {', '.join(nodes)}: it blocks all who "
                f"publish, on every node, and no job is confirmed until the alarm ends; {remedy}",
            )
    return None


def queue_trouble(queue: str, *, has_quorum: bool, silent_for: float) -> Trouble | None:
    """What it means that a queue has not answered for so many seconds."""
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
            "nodes that hold it run: how many jobs wait is unknown, and none may be confirmed",
        )
    return None
