"""How a rollout replaces workers without exceeding the most that there may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUARTER = 4
"""A rollout replaces one in this many workers at a time, if there is room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Numbers of workers, as in a Deployment's `rollingUpdate`."""

    surge: int
    """Workers that it may start in addition."""

    unavailable: int
    """Workers that it may remove before others are ready in their place."""

    def strategy(self) -> dict[str, Any]:
        """Return it as the `strategy` of a Deployment's spec."""
        numbers = {"maxSurge": self.surge, "maxUnavailable": self.unavailable}
        return {"type": "RollingUpdate", "rollingUpdate": numbers}


def rollout(replicas: int, *, ceiling: int) -> Rollout:
    """Return how `replicas` workers are replaced if there may be at most `ceiling`.

    A rollout to an image that cannot run removes no worker if there is room for one more, and one
    worker if there is not. Draining workers do not count, because they take no more jobs.
    """
    room = ceiling - replicas
    if room <= 0:
        return Rollout(surge=0, unavailable=1)
    quarter = max(1, -(-replicas // QUARTER))
    return Rollout(surge=min(quarter, room), unavailable=0)


def rollout_in(spec: Mapping[str, Any]) -> Rollout | None:
    """Return the rollout in a Deployment's spec; None if the operator would never set it so."""
    numbers = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge, unavailable = numbers.get("maxSurge"), numbers.get("maxUnavailable")
    if not isinstance(surge, int) or not isinstance(unavailable, int):
        return None
    return Rollout(surge=surge, unavailable=unavailable)
