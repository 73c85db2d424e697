"""Measures how long the worker's own start took, for its reports."""

from collections.abc import Callable

from longshore.worker.parent.children.processes import CpuTimes


class StartTimes:
    """`now` returns ms since the epoch, `cpu_times` the CPU times of the process so far."""

    def __init__(
        self, *, began: int, now: Callable[[], int], cpu_times: Callable[[], CpuTimes | None]
    ) -> None:
        self.began = began
        """When the process began, in ms since the epoch."""

        self.consuming_at: int | None = None
        """When the broker first sent jobs, in ms since the epoch."""

        self.cpu: CpuTimes | None = None
        """The CPU times of the start until then."""

        self._now = now
        self._cpu_times = cpu_times

    def note_consuming(self) -> None:
        """Record that the broker sends jobs; only the first call counts."""
        if self.consuming_at is None:
            self.consuming_at = self._now()
            self.cpu = self._cpu_times()
