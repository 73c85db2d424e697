"""Prometheus metrics of one worker: plain numbers that are formatted when they are scraped.

This does not use the reference client, because each of its observations takes a microsecond, and
its web server costs 2.3 MiB and 70 ms of every worker's start.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from longshore.worker.parent.children.states import Kill
from longshore.worker.parent.jobs.observer import JobObserver
from longshore.worker.parent.jobs.outcome import Outcome, Verdict
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Ended

_SECONDS = (0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


class Histogram:
    """Observed seconds by bucket."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(_SECONDS, seconds)] += 1
        self._sum += seconds

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self._counts)

    @property
    def sum(self) -> float:
        """The sum of all observations, in seconds."""
        return self._sum

    def lines(self, name: str) -> Iterator[str]:
        """Yield the present series."""
        bounds = (*(str(float(bound)) for bound in _SECONDS), "+Inf")
        totals = list(accumulate(self._counts))
        for bound, total in zip(bounds, totals, strict=True):
            yield f'{name}_bucket{{le="{bound}"}} {float(total)}'
        yield f"{name}_count {float(totals[-1])}"
        yield f"{name}_sum {self._sum}"


class Metrics(JobObserver):
    """The numbers that the worker counts."""

    def __init__(self, *, slots: int) -> None:
        # Every series exists from the start, because the rate of a missing series is not zero.
        self.jobs: Counter[Outcome] = Counter(dict.fromkeys(Outcome, 0))
        """Deliveries by outcome."""

        self.kills: Counter[Kill] = Counter(dict.fromkeys(Kill, 0))
        self.reconnects: Counter[str] = Counter({"consume": 0, "publish": 0})
        self.run_seconds = Histogram()
        self.wait_seconds = Histogram()
        self.latest_wait: float | None = None
        """Seconds between the enqueueing and the start of the latest first attempt."""

        self._slots = slots

    def started(self, _work: Work, waited: float | None, /) -> None:
        """Count how long the job waited, if that is known."""
        if waited is not None:
            self.wait_seconds.observe(waited)
            self.latest_wait = waited

    def ended(self, _work: Work, seconds: float, /) -> None:
        """Count how long the job ran."""
        self.run_seconds.observe(seconds)

    def settled(
        self,
        verdict: Verdict,
        _work: Work | None,
        _ended: Ended | None,
        _fields: Mapping[str, Any],
        /,
    ) -> None:
        """Count the outcome."""
        self.jobs[verdict.outcome] += 1

    def render(self, *, busy: int, is_blocked: bool) -> bytes:
        """Return the text exposition, version 0.0.4.

        Arguments are what is not counted here: `busy` slots have a running job, and `is_blocked`
        is true while the broker accepts no messages.
        """
        lines = self._lines(busy=busy, is_blocked=is_blocked)
        return ("\n".join(lines) + "\n").encode()

    def _lines(self, *, busy: int, is_blocked: bool) -> Iterator[str]:
        yield from _counter("longshore_jobs", "Deliveries by outcome.", "outcome", self.jobs)
        yield from _head("longshore_job_run_seconds", "histogram", "From a job's start to its end.")
        yield from self.run_seconds.lines("longshore_job_run_seconds")
        yield from _head(
            "longshore_job_wait_seconds",
            "histogram",
            "From a job's first enqueue to its first start; delayed jobs do not count.",
        )
        yield from self.wait_seconds.lines("longshore_job_wait_seconds")
        yield from _gauge("longshore_busy_slots", "Slots with a running job.", busy)
        yield from _gauge("longshore_slots", "Slots of the worker.", self._slots)
        yield from _gauge(
            "longshore_publish_blocked",
            "Whether RabbitMQ accepts no messages for now: outcomes wait, and jobs stay unacked.",
            is_blocked,
        )
        yield from _counter(
            "longshore_kills", "Children killed by the worker.", "cause", self.kills
        )
        yield from _counter(
            "longshore_reconnects",
            "Times that a connection or channel was lost.",
            "connection",
            self.reconnects,
        )


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def _gauge(name: str, meaning: str, value: int) -> Iterator[str]:
    yield from _head(name, "gauge", meaning)
    yield f"{name} {float(value)}"


def _counter(name: str, meaning: str, label: str, counts: Mapping[Any, int]) -> Iterator[str]:
    # Labels are the worker's own words, which need no escaping.
    yield from _head(f"{name}_total", "counter", meaning)
    for value, count in counts.items():
        yield f'{name}_total{{{label}="{value}"}} {float(count)}'
