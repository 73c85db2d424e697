"""Measures how long recent jobs took, which determines how many jobs may wait in a child."""

HAND_AHEAD = 16
"""Maximum number of jobs in a child: the running one and those handed over ahead. More gain
nothing."""

HOLD = 0.02
"""Seconds that a job may wait in a child behind the running one before it is taken back."""

_WEIGHT = 0.1

_LONG = 1.0
"""Seconds beyond which run times count as equal, or a single job would matter for hours."""


class Pace:
    """A moving mean of run times, which rises quickly when jobs become long."""

    def __init__(self) -> None:
        self.depth = 1
        """Maximum number of jobs in one child; 1 while nothing is known."""

        self._mean: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean run time in seconds; None before the first job has ended."""
        return self._mean

    def note(self, seconds: float) -> None:
        """Note that a job has run for this long."""
        seconds = min(seconds, _LONG)
        mean = self._mean
        self._mean = mean = seconds if mean is None else mean + _WEIGHT * (seconds - mean)
        self.depth = HAND_AHEAD if mean * HAND_AHEAD < HOLD else max(1, int(HOLD / mean))
