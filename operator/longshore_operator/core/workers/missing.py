"""Replicas that have no pod, and since when no pod was created."""

from dataclasses import dataclass

APPEAR_WITHIN = 5.0
"""Seconds within which Kubernetes creates a pod, or the next of many, if nothing prevents it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPods:
    """The missing pods of one TaskQueue. Times are seconds of the caller's clock."""

    count: int
    pods: int
    """Number of pods that exist."""

    since: float
    """When the last pod was created or removed; at first, when some began to be missing."""

    def is_over(self, *, now: float) -> bool:
        """Return whether no more pods will be created for now."""
        return now - self.since >= APPEAR_WITHIN


def missing(
    before: MissingPods | None, *, replicas: int | None, pods: int, now: float
) -> MissingPods | None:
    """Return the pods that are missing for `replicas`; None if there are none, or it is unknown."""
    if replicas is None or pods >= replicas:
        return None
    since = before.since if before and before.pods == pods else now
    return MissingPods(count=replicas - pods, pods=pods, since=since)
