"""What several rounds say together: median and spread, percentiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, least and greatest of the rounds."""

    median: float
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError when there are none."""
    if not values:
        raise ValueError("no values: a spread needs at least one")
    return Spread(median=median(values), min=min(values), max=max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` (0 to 1) of all values do not exceed: the nearest rank.

    Always a value that was measured. Of fewer than 100 values the p99 is the greatest. Raises
    ValueError when there are none or `share` is out of range.
    """
    if not values:
        raise ValueError("no values: a percentile needs at least one")
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; it must be in (0, 1]")
    # 0.07 * 100 is 7.000000000000001: without rounding it would be rank 8.
    rank = math.ceil(round(share * len(values), 9))
    return sorted(values)[rank - 1]
