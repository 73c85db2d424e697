"""Raises, lowers or slows the number that the policy wants. Each step gives its reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling.memory import Counts, Memory
from longshore_operator.trouble import Trouble

GRACE_PER_STARTUP = 5.0
"""Seconds of grace for each second of start-up beyond the first. Keeping a worker for that long
costs a few times as much as starting it anew."""

GRACE_PER_WAIT = 0.5
"""Fraction of `maxQueueWait`: even if workers start quickly, jobs arrive some time apart."""

Lines = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A floor, a ceiling or both, and where it comes from: a window, a budget."""

    name: str
    """Its name in `{name} raises it to 5`."""

    floor: int | None = None
    ceiling: int | None = None
    is_share: bool = False
    """Whether it is a share of a budget, which changes at each tick with what each TaskQueue
    wants."""

    keeps: int | None = None
    """Of a share: the most workers that may stay without being wanted now; others lack the rest."""

    trouble: Trouble | None = None
    """A mistake behind this limit. It is reported whether or not it changes the number."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A number within all limits, and what changed it."""

    count: int
    ceiling: int
    """The most workers that may stay without being wanted now."""

    why: Lines = ()


def ceiling_of(scaling: Scaling, *, limits: Iterable[Limit]) -> int:
    """Return the most workers that there may be during a rollout. Shares are ignored, because a
    rollout would change its pace with each of their changes."""
    tops = [each.ceiling for each in limits if each.ceiling is not None and not each.is_share]
    return min([scaling.max, *tops])


def bounded(wanted: int, *, scaling: Scaling, limits: Sequence[Limit]) -> Bounded:
    """Return `wanted` within all limits. Floors are applied first, so a ceiling beats a floor: too
    many workers are what others would pay for."""
    count = wanted
    why: list[str] = []
    for name, floor in (
        ("scaling.min", scaling.min),
        *[(each.name, each.floor) for each in limits],
    ):
        if floor is not None and floor > count:
            count = floor
            why.append(f"{name} raises it to {count}")
    for name, top in (
        *[(each.name, each.ceiling) for each in limits],
        ("scaling.max", scaling.max),
    ):
        if top is not None and top < count:
            count = top
            why.append(f"{name} lowers it to {count}")
    ceiling = ceiling_of(scaling, limits=limits)
    keeps = [each.keeps for each in limits if each.keeps is not None]
    return Bounded(count, min([ceiling, *keeps]), tuple(why))


def steadied(
    count: int, *, replicas: int, ceiling: int, scaling: Scaling, memory: Memory, startup: float
) -> tuple[int, Lines]:
    """Keep as many of `replicas` as were wanted recently while there is work. None is added."""
    most = min(memory.peaks[0][1], ceiling, replicas)
    if most <= count:
        return count, ()
    grace = idle_grace(scaling, startup=startup)
    if memory.idle_since is not None and memory.at - memory.idle_since >= grace:
        return count, (f"no job has waited or run for {grace:g} s",)
    return most, (f"{most} were wanted within scaling.steadyFor = {scaling.steady_for:g} s",)


def idle_grace(scaling: Scaling, *, startup: float) -> float:
    """Return the seconds without any work after which workers are removed."""
    if scaling.idle_grace is not None:
        return scaling.idle_grace
    return max(GRACE_PER_STARTUP * (startup - 1), GRACE_PER_WAIT * scaling.max_queue_wait)


def slowed(change: int, *, name: str, most: int | None, lately: Counts) -> tuple[int, Lines]:
    """Return how many of `change` workers may be added or removed now, at most `most` a minute."""
    if most is None or change <= 0:
        return change, ()
    left = max(0, most - sum([count for _, count in lately]))
    if change <= left:
        return change, ()
    return left, (f"{name} = {most} per minute allows {left} of {change} for now",)
