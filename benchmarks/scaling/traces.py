"""Five kinds of load, each drawn from a seed. Times are in seconds."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Trace:
    """Jobs in order of arrival."""

    name: str
    duration: float
    arrivals: tuple[float, ...]
    service: tuple[float, ...]
    """How long the job of the same index runs."""


def sparse(chance: Random) -> Trace:
    """A job of 10 s every 20 minutes or so, for 6 h."""
    duration = 6 * 3600.0
    arrivals = tuple(_poisson(chance, rate=1 / 1200, until=duration))
    return Trace("sparse", duration, arrivals, tuple(10.0 for _ in arrivals))


def spike(chance: Random) -> Trace:
    """0.2 jobs/s of 10 s for 2 h, and 300 at once after half an hour."""
    duration = 2 * 3600.0
    background = _poisson(chance, rate=0.2, until=duration)
    arrivals = tuple(sorted([*background, *(300 * [1800.5])]))
    return Trace("spike", duration, arrivals, _lognormal(chance, mean=10.0, count=len(arrivals)))


def bursty(chance: Random) -> Trace:
    """0.05 jobs/s for about 5 minutes, then 4 jobs/s for about one, for 4 h; jobs of 5 s."""
    duration = 4 * 3600.0
    arrivals: list[float] = []
    start, on = 0.0, False
    while start < duration:
        end = min(duration, start + chance.expovariate(1 / (60.0 if on else 300.0)))
        arrivals += _poisson(chance, rate=4.0 if on else 0.05, until=end, start=start)
        start, on = end, not on
    return Trace(
        "bursty", duration, tuple(arrivals), _lognormal(chance, mean=5.0, count=len(arrivals))
    )


def diurnal(chance: Random) -> Trace:
    """From 0 to 3 jobs/s and back within 24 h; jobs of 4 s."""
    duration = 24 * 3600.0
    arrivals = tuple(
        when
        for when in _poisson(chance, rate=3.0, until=duration)
        if chance.random() < (1 - math.cos(2 * math.pi * when / duration)) / 2
    )
    return Trace("diurnal", duration, arrivals, _lognormal(chance, mean=4.0, count=len(arrivals)))


def heavy(chance: Random) -> Trace:
    """0.2 jobs/s for 12 h; most take half a minute, a few 2 h (Pareto, shape 1.5, mean 60 s)."""
    duration = 12 * 3600.0
    arrivals = tuple(_poisson(chance, rate=0.2, until=duration))
    service = tuple(min(7200.0, 20.0 * chance.paretovariate(1.5)) for _ in arrivals)
    return Trace("heavy", duration, arrivals, service)


def short(chance: Random) -> Trace:
    """What a small real cluster can run too: 0.05 jobs/s for 6 minutes, and 1 job/s for 45 s of
    them; jobs of 5 s. Not one of those by which settings are compared."""
    duration = 360.0
    arrivals = list(_poisson(chance, rate=0.05, until=duration))
    arrivals += _poisson(chance, rate=1.0, until=165.0, start=120.0)
    arrivals.sort()
    return Trace(
        "short", duration, tuple(arrivals), _lognormal(chance, mean=5.0, count=len(arrivals))
    )


ALL: dict[str, Callable[[Random], Trace]] = {
    each.__name__: each for each in (sparse, spike, bursty, diurnal, heavy)
}


def _poisson(chance: Random, *, rate: float, until: float, start: float = 0.0) -> Iterator[float]:
    when = start + chance.expovariate(rate)
    while when < until:
        yield when
        when += chance.expovariate(rate)


_SIGMA = 0.5


def _lognormal(chance: Random, *, mean: float, count: int) -> tuple[float, ...]:
    mu = math.log(mean) - _SIGMA**2 / 2
    return tuple(chance.lognormvariate(mu, _SIGMA) for _ in range(count))
