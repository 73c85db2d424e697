"""Bounds what is remembered of workers, which come and go as long as their TaskQueue exists."""

from collections.abc import Container
from itertools import islice
from typing import Any, TypeVar

K = TypeVar("K")

LEAST = 2_000
"""Number of workers that are always remembered."""


def forget(seen: dict[K, Any], *, present: Container[K], most: int) -> None:
    """Drop the oldest workers from `seen`, down to twice the `most` workers of a TaskQueue.

    Those in `present` are kept: if one were forgotten, everything that it ever did would count
    again.
    """
    excess = len(seen) - max(LEAST, 2 * most)
    if excess > 0:
        for each in list(islice((each for each in seen if each not in present), excess)):
            del seen[each]
