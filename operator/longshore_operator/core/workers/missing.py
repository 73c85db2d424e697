"""Replicas that have no pod, and since when none was made."""

from dataclasses import dataclass

APPEAR_WITHIN = 5.0
"""Seconds in which Kubernetes makes a pod, or the next of many, if nothing keeps it from that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingPods:
    """Of one TaskQueue. Times are seconds of the caller's clock."""

    count: int
    pods: int
    """Those that there are."""

    since: float
    """When the last one was made or went, at first when some were missing."""

    def is_over(self, *, now: float) -> bool:
        """Whether no more pods will come for now."""
        return now - self.since >= APPEAR_WITHIN


def missing(
    before: MissingPods | None, *, replicas: int | None, pods: int, now: float
) -> MissingPods | None:
    """What is missing of `replicas`; None when nothing is, or that is unknown."""
    if replicas is None or pods >= replicas:
        return None
    since = before.since if before and before.pods == pods else now
    return MissingPods(count=replicas - pods, pods=pods, since=since)
