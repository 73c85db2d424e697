"""What is remembered of workers is bounded: they come and go as long as their TaskQueue exists."""

from collections.abc import Container
from itertools import islice
from typing import Any, TypeVar

K = TypeVar("K")

LEAST = 2_000
"""Workers that are remembered anyway."""


def forget(seen: dict[K, Any], *, present: Container[K], most: int) -> None:
    """Drop those that `seen` has had for longest, down to twice the `most` workers of a TaskQueue.

    One of `present` stays: forgotten, all that it ever did would count once more.
    """
    excess = len(seen) - max(LEAST, 2 * most)
    if excess > 0:
        for each in list(islice((each for each in seen if each not in present), excess)):
            del seen[each]
