"""What one decision passes on to the next. It may be lost at any time and is then learned anew."""

import math
from dataclasses import dataclass

from longshore_operator.core.scaling.observation import Observation

ARRIVALS_OVER = 90.0
"""Seconds over which the rate of arrivals is averaged, exponentially."""

Counts = tuple[tuple[float, int], ...]
"""Numbers and the times at which they were true, in seconds of the caller's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What was known at one decision. Times are seconds of the caller's clock."""

    at: float
    """The time of the decision."""

    finished: int
    work: int | None
    """Jobs that waited or were held; None is unknown."""

    rate: float
    """Jobs that arrive per second."""

    idle_since: float | None = None
    stalled_since: float | None = None
    """Since when jobs have waited and others have run, but none has ended."""

    peaks: Counts = ()
    """Wanted numbers of workers and their times. Only those that no later one exceeds are kept, so
    the first is the highest of the window."""

    added: Counts = ()
    """Workers added in the last minute. Kept only where `maxGrowth` limits them."""

    removed: Counts = ()


def recalled(
    before: Memory | None, *, observation: Observation, service: float, now: float
) -> Memory:
    """Return what is known now. `service` is how long a job runs, in seconds."""
    held = observation.held
    finished = observation.settled if observation.finished is None else observation.finished
    work = None if observation.ready is None else observation.ready + held
    if before is None:
        # Assume that as many jobs arrive as end, until more is known.
        return Memory(
            at=now,
            finished=finished,
            work=work,
            rate=observation.running / service,
            idle_since=now if _is_idle(observation, work) else None,
            stalled_since=now if observation.ready and observation.running else None,
        )
    since = before.idle_since
    if not _is_idle(observation, work):
        since = None
    elif since is None or finished != before.finished:
        since = now  # jobs that arrived and ended between two ticks are work too
    return Memory(
        at=now,
        finished=finished,
        work=work,
        rate=_rate(before, finished=finished, work=work, idle_since=since, now=now),
        idle_since=since,
        stalled_since=_stalled_since(before, observation=observation, finished=finished, now=now),
        peaks=before.peaks,
        added=before.added,
        removed=before.removed,
    )


def with_peak(memory: Memory, *, wanted: int, replicas: int, window: float) -> Memory:
    """Return the memory with one more number that is wanted now.

    The first peak is at least `replicas`, because an operator that has just started does not know
    why they exist.
    """
    if memory.peaks:
        since = memory.at - window
        kept = [peak for peak in memory.peaks if peak[0] > since and peak[1] > wanted]
        peaks = (*kept, (memory.at, wanted))
    else:
        peaks = ((memory.at, max(wanted, replicas)),)
    return Memory(
        at=memory.at,
        finished=memory.finished,
        work=memory.work,
        rate=memory.rate,
        idle_since=memory.idle_since,
        stalled_since=memory.stalled_since,
        peaks=peaks,
        added=memory.added,
        removed=memory.removed,
    )


def lately(changes: Counts, *, now: float) -> Counts:
    """Return the changes of the last minute."""
    return tuple([change for change in changes if change[0] > now - 60])


def _is_idle(observation: Observation, work: int | None) -> bool:
    if work != 0:
        return False
    return all(worker.state in ("idle", "starting") for worker in observation.workers)


def _stalled_since(
    before: Memory, *, observation: Observation, finished: int, now: float
) -> float | None:
    if observation.ready == 0 or not observation.running:
        return None
    if finished != before.finished:
        return now
    if observation.ready is None:
        return before.stalled_since
    return now if before.stalled_since is None else before.stalled_since


def _rate(
    before: Memory, *, finished: int, work: int | None, idle_since: float | None, now: float
) -> float:
    elapsed = now - before.at
    if before.work is None or work is None or elapsed <= 0:
        return before.rate
    # Reports arrive later than the queue's depth, so a job may leave the sum for a moment and
    # return: single differences may be negative, and only their average is cut off at 0.
    arrived = work - before.work + max(0, finished - before.finished)
    share = 1 - math.exp(-elapsed / ARRIVALS_OVER)
    rate = max(0.0, before.rate + share * (arrived / elapsed - before.rate))
    if idle_since is None or idle_since == now:
        return rate
    # Not even one arrived in this time, so an earlier burst says nothing about now.
    return min(rate, 1 / (now - idle_since))
