"""When a failed job is retried: exponential backoff with jitter."""

import msgspec

from longshore.contract import backoff

LONGEST_DEFERRAL = 30.0
"""Most seconds until a job that is deferred to another version of the workers is offered again."""


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and when a failed job is retried; delays are in seconds."""

    max_attempts: int = 5
    initial_delay: float = 10.0
    max_delay: float = 3600.0
    factor: float = 2.0
    jitter: float = 0.25
    """Largest fraction by which a delay is lengthened or shortened, 0 to 1."""

    max_age: float | None = None
    """Seconds after its first enqueue from which a job is no longer run; None means no limit."""

    defer_for: float = 600.0
    """Seconds for which a job that a worker's version cannot run is left to other versions."""

    def delay_after(self, attempt: int, *, chance: float) -> float:
        """Return the seconds between the failure of `attempt` and the next attempt.

        `chance` is uniform in [0, 1). Jitter prevents jobs that failed together from being retried
        together.
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
        """Return the seconds until a job that has been deferred since `since` is offered again;
        None if it is not deferred any longer.

        Times are ms since the epoch. Each wait is half as long as all previous ones together,
        within 1 and `LONGEST_DEFERRAL` seconds, so a rollout that takes seconds delays jobs for
        seconds.
        """
        waited = max(0.0, (now - since) / 1000)
        left = self.defer_for - waited
        if left <= 0:
            return None
        return min(max(1.0, waited / 2), LONGEST_DEFERRAL, max(1.0, left))
