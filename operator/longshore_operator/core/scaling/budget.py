"""Divides a number of workers among several TaskQueues."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The claim of one TaskQueue on the budget."""

    wanted: int
    weight: int
    current: int
    """Workers that it has. They count, because they are not removed before they are idle."""


def allotted(limit: int, claims: Mapping[K, Claim]) -> dict[K, int]:
    """Return the most workers that each TaskQueue may have now.

    In the long run, each gets its share by weight, and what one does not want is given to the
    others. A TaskQueue below its share grows only by what is free, so growth never makes all of
    them together exceed `limit`. One above its share gives back workers that become idle.
    """
    shares = _shared(limit, {key: (each.wanted, each.weight) for key, each in claims.items()})
    free = max(0, limit - sum(each.current for each in claims.values()))
    growth = _shared(
        free,
        {key: (max(0, shares[key] - each.current), each.weight) for key, each in claims.items()},
    )
    return {key: min(shares[key], each.current + growth[key]) for key, each in claims.items()}


def _shared(limit: int, wishes: Mapping[K, tuple[int, int]]) -> dict[K, int]:
    """Divide `limit` by weight among (wish, weight); none gets more than its wish."""
    given = dict.fromkeys(wishes, 0)
    left = limit
    open_keys = [key for key, (wish, _) in wishes.items() if wish > 0]
    while left > 0 and open_keys:
        weight = sum(wishes[key][1] for key in open_keys)
        content = [key for key in open_keys if wishes[key][0] * weight <= left * wishes[key][1]]
        if not content:
            return given | _divided(left, {key: wishes[key][1] for key in open_keys})
        for key in content:
            given[key] = wishes[key][0]
            left -= given[key]
        open_keys = [key for key in open_keys if key not in content]
    return given


def _divided(limit: int, weights: Mapping[K, int]) -> dict[K, int]:
    """Divide `limit` by weight into whole numbers; the largest remainders get what is left."""
    weight = sum(weights.values())
    given = {key: limit * each // weight for key, each in weights.items()}
    by_remainder = sorted(weights, key=lambda key: -(limit * weights[key] % weight))
    for key in by_remainder[: limit - sum(given.values())]:
        given[key] += 1
    return given
