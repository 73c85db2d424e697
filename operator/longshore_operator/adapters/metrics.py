"""What Prometheus scrapes from the operator."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 1.1, 1.2, 1.5, 2, 5, 10, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The numbers of one TaskQueue. None is unknown, and not shown."""

    namespace: str
    name: str
    ready: int | None
    dead: int | None
    wanted: int | None
    workers: int | None


SHOWN_FOR = 1.0
"""Seconds for which one exposition is served to all clients. A thousand TaskQueues take 45 ms of
the event loop, and every pod of the cluster may ask."""


class OperatorMetrics:
    """Collects the operator's metrics.

    `task_queues` returns the numbers of all TaskQueues, and `brokers` the name of each Broker and
    whether it can be reached. `clock` is monotonic.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        task_queues: Callable[[], Iterable[Shown]],
        brokers: Callable[[], Iterable[tuple[str, bool]]],
    ) -> None:
        self._clock = clock
        self._shown, self._shown_at = b"", -inf
        self._registry = CollectorRegistry()
        self._registry.register(_Fleet(task_queues, brokers))
        self._tick = Histogram(
            "longshore_operator_tick_seconds",
            "Duration of one tick, a pass over all TaskQueues.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._interval = Histogram(
            "longshore_operator_tick_interval_seconds",
            "Time from the beginning of a tick to the beginning of the next.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._reconciled = Counter(
            "longshore_operator_reconciles",
            "Attempts to make RabbitMQ and Kubernetes match a TaskQueue.",
            ["result"],
            registry=self._registry,
        )
        for result in ("done", "failed"):
            self._reconciled.labels(result)  # exists from the start, since a rate needs a zero

    def ticked(self, *, took: float, interval: float | None) -> None:
        """Record one tick, in seconds; `interval` is None for the first."""
        self._tick.observe(took)
        if interval is not None:
            self._interval.observe(interval)

    def reconciled(self, *, failed: bool) -> None:
        """Record one attempt to reconcile a TaskQueue."""
        self._reconciled.labels("failed" if failed else "done").inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format, at most a second old."""
        now = self._clock()
        if now - self._shown_at >= SHOWN_FOR:
            self._shown, self._shown_at = generate_latest(self._registry), now
        return self._shown


@dataclass(frozen=True, slots=True)
class _Fleet(Collector):
    task_queues: Callable[[], Iterable[Shown]]
    brokers: Callable[[], Iterable[tuple[str, bool]]]

    def collect(self) -> Iterator[Metric]:
        ready = _gauge("jobs_ready", "Jobs that wait in the queue.")
        dead = _gauge("jobs_dead", "Jobs in the dead-letter queue.")
        wanted = _gauge("workers_wanted", "Workers that the scaler wants.")
        workers = _gauge("workers", "Workers requested from Kubernetes.")
        for each in self.task_queues():
            for family, value in (
                (ready, each.ready),
                (dead, each.dead),
                (wanted, each.wanted),
                (workers, each.workers),
            ):
                if value is not None:
                    family.add_metric([each.namespace, each.name], value)
        reached = GaugeMetricFamily(
            "longshore_broker_up", "Whether the Broker answers.", labels=["broker"]
        )
        for name, is_up in self.brokers():
            reached.add_metric([name], float(is_up))
        yield from (ready, dead, wanted, workers, reached)


def _gauge(name: str, meaning: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"longshore_taskqueue_{name}", meaning, labels=["namespace", "task_queue"]
    )
