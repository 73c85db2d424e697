"""Delays before retries: capped exponential backoff with jitter."""

AROUND = (0.5, 1.5)
"""Jitter that preserves the mean delay."""

BELOW = (0.5, 1.0)
"""Jitter that never exceeds the longest delay."""

NONE = (1.0, 1.0)


def delay_after(
    failures: int,
    *,
    first: float,
    most: float,
    least: float = 0.0,
    chance: float,
    jitter: tuple[float, float] = AROUND,
    factor: float = 2.0,
) -> float:
    """Return the delay after `failures` failures in a row, in the unit of `first` and `most`.

    It is `first` after the first failure and `factor` times longer after each further one, within
    `least` and `most`. It is then multiplied by a number in the range `jitter`, at the position
    `chance`, which is uniform in [0, 1). So what failed together is not retried together.
    """
    try:
        delay = min(most, first * factor ** max(0, failures - 1))
    except OverflowError:
        delay = most
    shortest, longest = jitter
    return max(least, delay) * (shortest + (longest - shortest) * chance)
