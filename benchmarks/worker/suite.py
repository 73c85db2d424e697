"""What is measured of our worker alone, part by part; one that fails does not stop the others."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.worker import container, deaths, endurance, footprint, latency, lateness, prefetch
from benchmarks.worker.broker import Broker
from benchmarks.worker.checks import Bound, Check
from benchmarks.worker.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement and what is asked of it."""

    measure: Callable[[Broker, float], Any]
    """Takes the broker and the scale: which share of the usual repetitions and times to take."""

    bounds: Sequence[Bound]


PARTS = {
    "latency": Part(latency.measure, latency.BOUNDS),
    "kills": Part(lateness.measure_kills, lateness.KILL_BOUNDS),
    "soft-limit": Part(lateness.measure_soft_limit, lateness.SOFT_BOUNDS),
    "prefetch": Part(prefetch.measure, prefetch.BOUNDS),
    "footprint": Part(footprint.measure, footprint.BOUNDS),
    "container": Part(container.measure, container.BOUNDS),
    "deaths": Part(deaths.measure, deaths.BOUNDS),
    "endurance": Part(endurance.measure, endurance.BOUNDS),
}


def measure(
    names: Iterable[str], *, broker: Broker, scale: float, tell: Callable[[str], None]
) -> tuple[dict[str, Any], list[Check]]:
    """The measurements by name, and a check for each bound of theirs."""
    found: dict[str, Any] = {}
    checks: list[Check] = []
    for name in names:
        tell(name)
        part, result, fault = PARTS[name], None, ""
        try:
            result = part.measure(broker, scale)
        except (BenchmarkError, TimeoutError) as error:
            fault = f"not measured: {error}"
        found[name] = asdict(result) if result else {"fault": fault}
        checks += [bound.check(result, fault=fault) for bound in part.bounds]
    return found, checks
