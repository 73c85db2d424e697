"""How a rollout replaces workers: within the most that there may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUARTER = 4
"""A rollout starts new workers for one in so many, where there is room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Numbers of workers, as in a Deployment's `rollingUpdate`."""

    surge: int
    """That it may start beyond those that there are."""

    unavailable: int
    """That it may take away before others are ready in their place."""

    def strategy(self) -> dict[str, Any]:
        """As the Deployment's spec has it."""
        numbers = {"maxSurge": self.surge, "maxUnavailable": self.unavailable}
        return {"type": "RollingUpdate", "rollingUpdate": numbers}


def rollout(replicas: int, *, ceiling: int) -> Rollout:
    """How `replicas` workers are replaced where there may be `ceiling` at most.

    An image that cannot run takes nobody away where there is room for one more, and one where there
    is none. Those that drain do not count: they take no jobs any more.
    """
    room = ceiling - replicas
    if room <= 0:
        return Rollout(surge=0, unavailable=1)
    quarter = max(1, -(-replicas // QUARTER))
    return Rollout(surge=min(quarter, room), unavailable=0)


def rollout_in(spec: Mapping[str, Any]) -> Rollout | None:
    """What a Deployment's spec says; None when it is nothing that we would say."""
    numbers = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge, unavailable = numbers.get("maxSurge"), numbers.get("maxUnavailable")
    if not isinstance(surge, int) or not isinstance(unavailable, int):
        return None
    return Rollout(surge=surge, unavailable=unavailable)
