"""The binary delay ladder: any delay up to 8.5 years, held by RabbitMQ and never by a worker.

Level n is a queue whose messages expire after 2ⁿ seconds. A delayed job enters at the top with one
word, `0` or `1`, for each level before its queue's name; each exchange sends it into its level's
queue (bit 1) or straight to the next exchange (bit 0). Under level 0 stands the exchange for due
jobs. RabbitMQ takes TTLs up to 2²⁸ s (measured on 4.0.5 and 4.3.6), hence the number of levels.
"""

import math

from longshore.contract.names import DELAY_PREFIX, DUE_EXCHANGE, JOBS_EXCHANGE, LOST

LEVELS = 28

MAX_DELAY = 2**LEVELS - 1
"""Longest delay, in seconds."""

_TOP = LEVELS - 1


def level_name(level: int) -> str:
    """Exchange and queue of one level, 0 to 27."""
    return f"{DELAY_PREFIX}{level:02}"


DELAY_EXCHANGE = level_name(_TOP)
"""Where every delayed job is published."""


def shared_queues() -> frozenset[str]:
    """All queues of a virtual host that belong to no TaskQueue: none may be called like them."""
    return frozenset({LOST, *map(level_name, range(LEVELS))})


def next_exchange(level: int) -> str:
    """Where a message goes that has passed `level`."""
    return level_name(level - 1) if level else DUE_EXCHANGE


def binding_key(level: int, *, bit: int) -> str:
    """Binding at the exchange of `level` for messages that wait there (1) or pass by (0)."""
    return "*." * (_TOP - level) + f"{bit}.#"


def route(queue: str, *, delay: float) -> tuple[str, str]:
    """Exchange and routing key for a job that `queue` gets after `delay` seconds.

    Resolution is one second, rounded up: a job is never early. Raises ValueError past `MAX_DELAY`.
    """
    seconds = whole_seconds(delay)
    if seconds <= 0:
        return JOBS_EXCHANGE, queue
    if seconds > MAX_DELAY:
        raise ValueError(f"a delay of {seconds} s is too long; {MAX_DELAY} s is the most")
    return DELAY_EXCHANGE, ".".join((*f"{seconds:0{LEVELS}b}", queue))


def whole_seconds(delay: float) -> int:
    """How long the ladder holds a job that is to wait `delay` seconds."""
    return math.ceil(delay)
