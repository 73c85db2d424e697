"""How long the worker's own start took, for its reports."""

from collections.abc import Callable

from longshore.worker.parent.children.processes import CpuTimes


class StartTimes:
    """`now` returns ms since the epoch, `cpu_times` what CPU time the process has had so far."""

    def __init__(
        self, *, began: int, now: Callable[[], int], cpu_times: Callable[[], CpuTimes | None]
    ) -> None:
        self.began = began
        """When the process began, in ms since the epoch."""

        self.consuming_at: int | None = None
        """When the broker first sent jobs."""

        self.cpu: CpuTimes | None = None
        """The CPU time of the start until then."""

        self._now = now
        self._cpu_times = cpu_times

    def note_consuming(self) -> None:
        """Note that the broker sends jobs; only the first time counts."""
        if self.consuming_at is None:
            self.consuming_at = self._now()
            self.cpu = self._cpu_times()
