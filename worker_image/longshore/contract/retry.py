"""When a failed job runs again: exponential backoff with jitter."""

import msgspec

from longshore.contract import backoff

LONGEST_DEFERRAL = 30.0
"""Seconds between two looks at a job that is deferred to another version of the workers."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and how late a failed job is tried again; delays in seconds."""

    max_attempts: int = 5
    initial_delay: float = 10.0
    max_delay: float = 3600.0
    factor: float = 2.0
    jitter: float = 0.25
    """Largest share by which a delay is lengthened or shortened, 0 to 1."""

    max_age: float | None = None
    """Seconds after its first enqueue from which a job is not run again; None means never."""

    defer_for: float = 600.0
    """Seconds for which a job that a worker's version cannot run is left to other versions."""

    def delay_after(self, attempt: int, *, chance: float) -> float:
        """Seconds between the failure of `attempt` and the next one.

        `chance` is uniform in [0, 1). Jitter keeps jobs that failed together from
        returning together.
        """
        return backoff.delay_after(
            attempt,
            first=self.initial_delay,
            most=self.max_delay,
            factor=self.factor,
            jitter=(1 - self.jitter, 1 + self.jitter),
            chance=chance,
        )

    def deferral(self, *, since: int, now: int) -> float | None:
        """Seconds until a job that has been deferred `since` is offered again; None for no more.

        Times in ms since the epoch. Each wait is half of all those before it, between 1 and
        `LONGEST_DEFERRAL` seconds: a rollout that takes seconds costs seconds.
        """
        waited = max(0.0, (now - since) / 1000)
        left = self.defer_for - waited
        if left <= 0:
            return None
        return min(max(1.0, waited / 2), LONGEST_DEFERRAL, max(1.0, left))
