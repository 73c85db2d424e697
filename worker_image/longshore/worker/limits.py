"""The limits of a handler's jobs: its own, within those of its queue."""

import math
from dataclasses import dataclass

from longshore.contract.config import WorkerConfig
from longshore.contract.durations import format_duration
from longshore.errors import HandlerError
from longshore.handler import HandlerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerLimits:
    """The limits of each job of one handler, in seconds; infinite if there is no limit."""

    max_attempts: int
    hard_limit: float
    soft_limit: float = math.inf
    max_age: float = math.inf


def limits_of_queue(config: WorkerConfig) -> HandlerLimits:
    """Return the queue's limits for every job."""
    return HandlerLimits(
        max_attempts=config.retry.max_attempts,
        hard_limit=config.hard_limit,
        soft_limit=math.inf if config.soft_limit is None else config.soft_limit,
        max_age=math.inf if config.retry.max_age is None else config.retry.max_age,
    )


def limits_of(spec: HandlerSpec, config: WorkerConfig) -> HandlerLimits:
    """Return the limits that `spec` sets, and those of its queue for the rest.

    Raises HandlerError if it sets more time than the queue allows, because the ack timeout and the
    pods' grace follow from the queue's limits. A queue's soft limit does not apply to a handler
    whose own hard limit is not above it.
    """
    queues = limits_of_queue(config)
    hard = _within(spec, "hard_limit", spec.hard_limit, "timeLimit.hard", queues.hard_limit)
    soft = _within(spec, "soft_limit", spec.soft_limit, "timeLimit.soft", queues.soft_limit)
    if spec.soft_limit is not None and soft >= hard:
        raise HandlerError(
            f"{spec.place}: handler {spec.name!r} has soft_limit {format_duration(soft)}, "
            f"which must be shorter than its hard limit, {format_duration(hard)}"
        )
    return HandlerLimits(
        max_attempts=spec.max_attempts or queues.max_attempts,
        hard_limit=hard,
        soft_limit=soft if soft < hard else math.inf,
        max_age=queues.max_age if spec.max_age is None else spec.max_age,
    )


def _within(spec: HandlerSpec, option: str, own: float | None, field: str, most: float) -> float:
    if own is None:
        return most
    if own > most:
        raise HandlerError(
            f"{spec.place}: handler {spec.name!r} has {option} {format_duration(own)}, but its "
            f"TaskQueue's {field} is {format_duration(most)}; lower the one or raise the other"
        )
    return own
