"""Asks node autoscalers to leave workers alone while they run long jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.workload import NOT_EVICTABLE
from longshore_operator.core.scaling.sight import Sight

IDLE_FOR = 60.0
"""Seconds without a job after which a worker may be moved. The protection of a worker changes at
most once in this time, not with each job."""


@dataclass(slots=True, kw_only=True)
class Protection:
    """Maintains the protection of workers, which are protected from the start."""

    world: World
    workloads: Workloads
    _busy: dict[str, float] = field(default_factory=dict)
    """By uid: when a pod was last seen with a job, or was first seen."""

    async def keep(self, sight: Sight, spec: TaskQueueSpec, *, evictable: bool) -> None:
        """Protect busy pods, and no others. Raises Transient."""
        if evictable or _is_users(spec):
            return
        for pod in sight.staying:
            report = sight.reports.get(pod.name)
            if report is None:
                continue  # nothing is known, so the protection stays as it is
            if report.held or report.busy:
                self._busy[pod.uid] = sight.now
            idle = sight.now - self._busy.setdefault(pod.uid, sight.now)
            if pod.is_protected and idle >= IDLE_FOR:
                await self.workloads.unprotect(sight.key, pod)
            elif not pod.is_protected and idle == 0:
                await self.workloads.protect(sight.key, pod)

    def forget(self) -> None:
        """Drop what is remembered of pods that the watch no longer shows."""
        shown = {pod.uid for pods in self.world.all_pods.values() for pod in pods}
        self._busy = {uid: at for uid, at in self._busy.items() if uid in shown}


def _is_users(spec: TaskQueueSpec) -> bool:
    """Return whether the user's own template sets the protection. It may have any shape."""
    metadata = (spec.worker.pod_template or {}).get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return isinstance(annotations, Mapping) and bool(NOT_EVICTABLE.keys() & annotations.keys())
