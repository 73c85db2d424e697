"""How long jobs take lately, and what follows from it for how many may wait where."""

HAND_AHEAD = 16
"""Most jobs that a child holds: the running one and those handed to it ahead. More gain nothing."""

HOLD = 0.02
"""Seconds that a job may wait in a child behind the running one before it is taken back."""

_WEIGHT = 0.1

_LONG = 1.0
"""Seconds beyond which one job is like another; else a single one were remembered for hours."""


class Pace:
    """A moving mean of run times, quick to see that jobs have become long."""

    def __init__(self) -> None:
        self.depth = 1
        """Jobs that one child may hold. While nothing is known, one."""

        self._mean: float | None = None

    @property
    def mean(self) -> float | None:
        """Seconds; None before the first job has ended."""
        return self._mean

    def note(self, seconds: float) -> None:
        """A job has run for so long."""
        seconds = min(seconds, _LONG)
        mean = self._mean
        self._mean = mean = seconds if mean is None else mean + _WEIGHT * (seconds - mean)
        self.depth = HAND_AHEAD if mean * HAND_AHEAD < HOLD else max(1, int(HOLD / mean))
