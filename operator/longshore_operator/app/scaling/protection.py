"""Asks node autoscalers to leave workers with long jobs alone, while they have one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.ports.kubernetes import Scalable
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.kubernetes.workload import NOT_EVICTABLE
from longshore_operator.core.scaling.sight import Sight

IDLE_FOR = 60.0
"""Seconds without a job after which a worker may be moved. A pod's annotations so change once in
this time, not with each job."""


@dataclass(slots=True, kw_only=True)
class Protection:
    """Keeps the annotations of pods whose template protects them from the start."""

    world: World
    cluster: Scalable
    _busy: dict[str, float] = field(default_factory=dict)
    """By uid, when a pod was last seen with a job, or first."""

    async def keep(self, sight: Sight, spec: TaskQueueSpec, *, evictable: bool) -> None:
        """Protect busy pods, and no others. Raises Transient."""
        if evictable or _is_users(spec):
            return
        for pod in sight.staying:
            report = sight.reports.get(pod.name)
            if report is None:
                continue  # unknown: as it is
            if report.held or report.busy:
                self._busy[pod.uid] = sight.now
            idle = sight.now - self._busy.setdefault(pod.uid, sight.now)
            if pod.is_protected and idle >= IDLE_FOR:
                await self._annotate(sight, pod, dict.fromkeys(NOT_EVICTABLE))
            elif not pod.is_protected and idle == 0:
                await self._annotate(sight, pod, NOT_EVICTABLE)

    def forget(self) -> None:
        """Drop what is remembered of pods that the watch shows no more."""
        shown = {pod.uid for pods in self.world.all_pods.values() for pod in pods}
        self._busy = {uid: at for uid, at in self._busy.items() if uid in shown}

    async def _annotate(
        self, sight: Sight, pod: Pod, annotations: Mapping[str, str | None]
    ) -> None:
        await self.cluster.annotate_pod(
            namespace=sight.key[0], name=pod.name, uid=pod.uid, annotations=annotations
        )


def _is_users(spec: TaskQueueSpec) -> bool:
    """Whether the user's own template says something about it. It may have any shape."""
    metadata = (spec.worker.pod_template or {}).get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return isinstance(annotations, Mapping) and bool(NOT_EVICTABLE.keys() & annotations.keys())
