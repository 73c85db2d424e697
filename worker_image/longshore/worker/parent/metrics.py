"""Prometheus metrics of one worker: plain numbers, put into families when they are scraped."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from longshore.worker.parent.outcome import Outcome
from longshore.worker.parent.slot import Kill

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


class Histogram:
    """Observed seconds by bucket; costs a tenth of the reference client's."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    def family(self, name: str, help: str) -> HistogramMetricFamily:
        """As it is now."""
        bounds = (*_SECONDS, math.inf)
        buckets = [
            ("+Inf" if bound == math.inf else str(float(bound)), float(total))
            for bound, total in zip(bounds, accumulate(self._counts), strict=True)
        ]
        return HistogramMetricFamily(name, help, buckets=buckets, sum_value=self._sum)


class Metrics:
    """In a registry of its own: nothing of the process at large leaks in."""

    def __init__(self, *, slots: int) -> None:
        # Every series is there from the start: a rate over a missing one is nothing, not zero.
        self.jobs: Counter[Outcome] = Counter(dict.fromkeys(Outcome, 0))
        """Deliveries by outcome."""

        self.kills: Counter[Kill] = Counter(dict.fromkeys(Kill, 0))
        self.reconnects: Counter[str] = Counter({"consume": 0, "publish": 0})
        self.run_seconds = Histogram()
        self.wait_seconds = Histogram()
        self.busy: Callable[[], int] = lambda: 0
        """Slots with a running job."""

        self._slots = slots
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield _counter("longshore_jobs", "Deliveries by outcome.", "outcome", self.jobs)
        yield self.run_seconds.family("longshore_job_run_seconds", "From a job's start to its end.")
        yield self.wait_seconds.family(
            "longshore_job_wait_seconds",
            "From a job's first enqueue to the start of its first attempt.",
        )
        yield GaugeMetricFamily(
            "longshore_busy_slots", "Slots with a running job.", value=self.busy()
        )
        yield GaugeMetricFamily("longshore_slots", "Slots of the worker.", value=self._slots)
        yield _counter("longshore_kills", "Children killed by the worker.", "cause", self.kills)
        yield _counter(
            "longshore_reconnects",
            "Times that a connection or channel was lost.",
            "connection",
            self.reconnects,
        )

    def render(self) -> bytes:
        """Text exposition."""
        return generate_latest(self._registry)


def _counter(name: str, help: str, label: str, counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help, labels=[label])
    for value, count in counts.items():
        family.add_metric([str(value)], count)
    return family
