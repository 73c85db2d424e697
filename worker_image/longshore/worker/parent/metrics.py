"""Prometheus metrics of one worker, and the counters of its reports."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from longshore.worker.parent.outcome import Outcome
from longshore.worker.parent.slot import Kill

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


class Metrics:
    """In a registry of its own: nothing of the process at large leaks in."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Counter(
            "longshore_jobs", "Deliveries by outcome.", ["outcome"], registry=self.registry
        )
        self.run_seconds = Histogram(
            "longshore_job_run_seconds",
            "From a job's start to its end.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.wait_seconds = Histogram(
            "longshore_job_wait_seconds",
            "From a job's first enqueue to the start of its first attempt.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.busy = Gauge(
            "longshore_busy_slots", "Slots with a running job.", registry=self.registry
        )
        self.slots = Gauge("longshore_slots", "Slots of the worker.", registry=self.registry)
        self.kills = Counter(
            "longshore_kills", "Children killed by the worker.", ["cause"], registry=self.registry
        )
        self.reconnects = Counter(
            "longshore_reconnects",
            "Times that a connection or channel was lost.",
            ["connection"],
            registry=self.registry,
        )
        # Every series is there from the start: a rate over a missing one is nothing, not zero.
        for outcome in Outcome:
            self.jobs.labels(outcome.value)
        for cause in Kill:
            self.kills.labels(cause.value)
        for connection in ("consume", "publish"):
            self.reconnects.labels(connection)

    def render(self) -> bytes:
        """Text exposition."""
        return generate_latest(self.registry)
