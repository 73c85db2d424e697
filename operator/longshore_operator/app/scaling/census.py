"""Finds pods that are gone but still shown by the watch, sooner than the audit (`audit.py`).

Such a pod never reports anything, so it would block every scale-in.
"""

from dataclasses import dataclass, field

from longshore.logs import Log
from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.watched.world import Kind, World
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling.sight import Sight

log = Log(__name__)

SILENT_FOR = 20.0
"""Seconds of silence after which Kubernetes is asked whether the pod exists, and asked again."""

AT_ONCE = 8
"""Pods of one TaskQueue that are asked about in one tick."""


@dataclass(slots=True, kw_only=True)
class _Silence:
    first: float
    asked: float


@dataclass(slots=True, kw_only=True)
class Census:
    """Asks about silent pods."""

    world: World
    workloads: Workloads
    _silent: dict[str, _Silence] = field(default_factory=dict)
    """By uid."""

    async def look(self, sight: Sight) -> tuple[str, ...]:
        """Drop pods that do not exist, and return the names of ready workers that are silent.

        Raises Transient.
        """
        asked, silent = 0, []
        for pod in sight.pods:
            if pod.name in sight.reports:
                self._silent.pop(pod.uid, None)
                continue
            since = self._silent.setdefault(pod.uid, _Silence(first=sight.now, asked=sight.now))
            if sight.now - since.first < SILENT_FOR:
                continue
            if sight.now - since.asked >= SILENT_FOR and asked < AT_ONCE:
                asked += 1
                since.asked = sight.now
                if not await self._is_there(sight, pod):
                    continue
            # A worker that is not ready may only be slow to import its handlers.
            if pod.ready and not pod.ending:
                silent.append(pod.name)
        return tuple(silent)

    async def _is_there(self, sight: Sight, pod: Pod) -> bool:
        if await self.workloads.is_there(sight.key, pod):
            return True
        log.warning("pod-gone-unseen", task_queue=".".join(sight.key), pod=pod.name, uid=pod.uid)
        self.world.gone.add(pod.uid)
        return False

    def forget(self) -> None:
        """Drop what is remembered of pods that the watch no longer shows."""
        shown = self.world.shown(Kind.PODS)
        self._silent = {uid: at for uid, at in self._silent.items() if uid in shown}
        self.world.forget_gone()
