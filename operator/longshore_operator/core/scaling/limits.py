"""What raises, lowers or slows the number that the policy wants. Each step that does says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling.memory import Counts, Memory
from longshore_operator.trouble import Trouble

GRACE_PER_STARTUP = 5.0
"""For each second of start-up beyond the first: to keep a worker for that long costs what starting
it anew does, a few times over."""

GRACE_PER_WAIT = 0.5
"""Of `maxQueueWait`: where starting is quick, jobs still come some time apart."""

Lines = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A floor, a ceiling or both, and where it comes from: a window, a budget."""

    name: str
    """As in `{name} raises it to 5`."""

    floor: int | None = None
    ceiling: int | None = None
    is_share: bool = False
    """Whether it is a part of what several have: it follows what each wants at each look."""

    keeps: int | None = None
    """Of a share: the most that may stay without being wanted now. Others lack the rest."""

    trouble: Trouble | None = None
    """A mistake that it stands for; users are told, whether or not it changes the number."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A number within all limits, and what changed it."""

    count: int
    ceiling: int
    """The most that may stay without being wanted now."""

    why: Lines = ()


def ceiling_of(scaling: Scaling, *, limits: Iterable[Limit]) -> int:
    """The most workers that there may be during a rollout. Shares are left out: a rollout would
    change its pace with each of them."""
    tops = [each.ceiling for each in limits if each.ceiling is not None and not each.is_share]
    return min([scaling.max, *tops])


def bounded(wanted: int, *, scaling: Scaling, limits: Sequence[Limit]) -> Bounded:
    """Floors come first, so a ceiling beats a floor: of all that can go wrong, too many workers is
    what others pay for."""
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
    """While work goes on, those of `replicas` stay that were wanted lately. None is called back."""
    most = min(memory.peaks[0][1], ceiling, replicas)
    if most <= count:
        return count, ()
    grace = idle_grace(scaling, startup=startup)
    if memory.idle_since is not None and memory.at - memory.idle_since >= grace:
        return count, (f"nothing waited or ran for {grace:g} s",)
    return most, (f"{most} were wanted within scaling.steadyFor = {scaling.steady_for:g} s",)


def idle_grace(scaling: Scaling, *, startup: float) -> float:
    """Seconds without any work after which workers go."""
    if scaling.idle_grace is not None:
        return scaling.idle_grace
    return max(GRACE_PER_STARTUP * (startup - 1), GRACE_PER_WAIT * scaling.max_queue_wait)


def slowed(change: int, *, name: str, most: int | None, lately: Counts) -> tuple[int, Lines]:
    """How many of `change` workers may be added or taken away now, if `most` may in a minute."""
    if most is None or change <= 0:
        return change, ()
    left = max(0, most - sum([count for _, count in lately]))
    if change <= left:
        return change, ()
    return left, (f"{name} = {most} in a minute leaves {left} of {change} for now",)
