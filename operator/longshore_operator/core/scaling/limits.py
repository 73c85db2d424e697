"""What raises, lowers or slows the number that the policy wants. Each step that does says so."""

from collections.abc import Iterable
from dataclasses import dataclass

from longshore_operator.api.v1alpha1 import Scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A floor, a ceiling or both, and where it comes from: a schedule, a budget."""

    name: str
    """As in `{name} raises it to 5`."""

    floor: int | None = None
    ceiling: int | None = None


def bounded(
    wanted: int, *, scaling: Scaling, limits: Iterable[Limit]
) -> tuple[int, int, tuple[str, ...]]:
    """The number within all limits, the lowest ceiling, and a line for each step that changed it.

    Floors come first, so a ceiling beats a floor; `scaling.max` beats all.
    """
    lines: list[str] = []
    count, ceiling = wanted, scaling.max
    for name, floor in (
        ("scaling.min", scaling.min),
        *((each.name, each.floor) for each in limits),
    ):
        if floor is not None and floor > count:
            count = floor
            lines.append(f"{name} raises it to {count}")
    for name, top in (
        *((each.name, each.ceiling) for each in limits),
        ("scaling.max", scaling.max),
    ):
        if top is None:
            continue
        ceiling = min(ceiling, top)
        if top < count:
            count = top
            lines.append(f"{name} lowers it to {count}")
    return count, ceiling, tuple(lines)
