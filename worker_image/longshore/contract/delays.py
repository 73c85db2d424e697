"""The binary delay ladder: any delay up to 8.5 years, held by RabbitMQ and never by a worker.

Level n is a queue whose messages expire after 2ⁿ seconds. A delayed job enters at the top. In its
routing key, a word for each level, `0` or `1`, precedes its queue's name; each exchange sends the
job into its level's queue (bit 1) or directly to the next exchange (bit 0). Below level 0 is the
exchange for due jobs. RabbitMQ accepts TTLs up to 2²⁸ s (measured on 4.0.5 and 4.3.6), hence the
number of levels.
"""

import math

from longshore.contract.names import DELAY_PREFIX, DUE_EXCHANGE, JOBS_EXCHANGE, LOST

LEVELS = 28

MAX_DELAY = 2**LEVELS - 1
"""Longest delay, in seconds."""

_TOP = LEVELS - 1


def level_name(level: int) -> str:
    """Return the name of the exchange and the queue of one level, 0 to 27."""
    return f"{DELAY_PREFIX}{level:02}"


DELAY_EXCHANGE = level_name(_TOP)
"""The exchange to which every delayed job is published."""


def shared_queues() -> frozenset[str]:
    """Return the queues of a virtual host that belong to no TaskQueue: their names are reserved."""
    return frozenset({LOST, *map(level_name, range(LEVELS))})


def next_exchange(level: int) -> str:
    """Return the exchange for a message that has passed `level`."""
    return level_name(level - 1) if level else DUE_EXCHANGE


def binding_key(level: int, *, bit: int) -> str:
    """Return the binding key at the exchange of `level` for messages that wait (1) or pass (0)."""
    return "*." * (_TOP - level) + f"{bit}.#"


def route(queue: str, *, delay: float) -> tuple[str, str]:
    """Return the exchange and the routing key for a job that `queue` gets after `delay` seconds.

    The delay is rounded up to whole seconds, so a job is never early. Raises ValueError if it
    exceeds `MAX_DELAY`.
    """
    seconds = whole_seconds(delay)
    if seconds <= 0:
        return JOBS_EXCHANGE, queue
    if seconds > MAX_DELAY:
        raise ValueError(f"a delay of {seconds} s is too long; it must be at most {MAX_DELAY} s")
    return DELAY_EXCHANGE, ".".join((*f"{seconds:0{LEVELS}b}", queue))


def whole_seconds(delay: float) -> int:
    """Return how many seconds the ladder holds a job with this delay."""
    return math.ceil(delay)
