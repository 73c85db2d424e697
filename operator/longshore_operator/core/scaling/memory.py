"""What one decision leaves to the next. It may be lost at any time; it is learned anew."""

import math
from dataclasses import dataclass, replace

from longshore_operator.core.scaling.observation import Observation

ARRIVALS_OVER = 60.0
"""Seconds over which the rate of arrivals is averaged, exponentially."""

MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Times are seconds of the caller's clock."""

    at: float
    finished: int
    work: int | None
    """Jobs that waited or were held at the last look; None when that was unknown."""

    rate: float
    """Jobs that arrive in a second."""

    idle_since: float | None = None
    peaks: tuple[tuple[float, int], ...] = ()
    """When how many workers were wanted: only those that no later one exceeds, so the first is the
    most of the window."""

    growth: tuple[tuple[float, int], ...] = ()
    """Workers added in the last minute: when and how many."""

    shrinkage: tuple[tuple[float, int], ...] = ()
    """Workers taken away in the last minute."""


def remembered(
    before: Memory | None, *, observation: Observation, service: float, now: float
) -> Memory:
    """What is known now, with the last decision's memory in it. `service` is what a job takes."""
    finished = observation.settled if observation.finished is None else observation.finished
    work = None if observation.ready is None else observation.ready + observation.held
    idle = work == 0 and all(worker.state in ("idle", "starting") for worker in observation.workers)
    if before is None:
        return Memory(
            at=now,
            finished=finished,
            work=work,
            # As many jobs come as end, until more is known.
            rate=observation.held / service,
            idle_since=now if idle else None,
        )
    # Jobs that came and went between two looks are work too.
    same = idle and before.idle_since is not None and finished == before.finished
    return replace(
        before,
        at=now,
        finished=finished,
        work=work,
        rate=_rate(before, finished=finished, work=work, now=now),
        idle_since=(before.idle_since if same else now) if idle else None,
    )


def peaked(memory: Memory, *, wanted: int, replicas: int, window: float) -> Memory:
    """With one more number that was wanted. The first time, that are `replicas` if they are more:
    an operator that has just started doesn't know why they are there."""
    if not memory.peaks and replicas > wanted:
        return replace(memory, peaks=((memory.at, replicas),))
    since = memory.at - window
    kept = [peak for peak in memory.peaks if peak[0] > since and peak[1] > wanted]
    return replace(memory, peaks=(*kept, (memory.at, wanted)))


def changed(
    changes: tuple[tuple[float, int], ...], *, by: int, now: float
) -> tuple[tuple[float, int], ...]:
    """The changes of the last minute, with this one."""
    kept = tuple(change for change in changes if change[0] > now - MINUTE)
    return (*kept, (now, by)) if by else kept


def _rate(before: Memory, *, finished: int, work: int | None, now: float) -> float:
    elapsed = now - before.at
    if before.work is None or work is None or elapsed <= 0:
        return before.rate
    # Reports come later than the queue's depth, so a job may leave the sum for a moment and come
    # back: no single difference is cut off at 0, only their average.
    arrived = work - before.work + max(0, finished - before.finished)
    share = 1 - math.exp(-elapsed / ARRIVALS_OVER)
    return max(0.0, before.rate + share * (arrived / elapsed - before.rate))
