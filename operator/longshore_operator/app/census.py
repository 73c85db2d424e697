"""Finds pods that are gone though the watch still shows them.

After an interruption that is longer than the API server's memory, kopf lists anew and keeps what is
no longer there (1.45). Such a pod never says anything, so it would hold every scale-in.
"""

import logging
from dataclasses import dataclass, field

from longshore_operator.app.cluster import Cluster
from longshore_operator.app.workers import Sight
from longshore_operator.app.world import World

logger = logging.getLogger(__name__)

SILENT_FOR = 20.0
"""Seconds without a report after which Kubernetes is asked whether the pod is there, and again."""

AT_ONCE = 8
"""Pods of one TaskQueue that are asked about in one tick."""


@dataclass(slots=True, kw_only=True)
class Census:
    """Asks about silent pods."""

    world: World
    cluster: Cluster
    _silent: dict[str, float] = field(default_factory=dict)
    """Uids, with the time when each was first found silent or last asked about."""

    async def look(self, sight: Sight) -> None:
        """Have pods that do not exist forgotten. Raises Transient."""
        asked = 0
        for pod in sight.pods:
            if pod.name in sight.reports:
                self._silent.pop(pod.uid, None)
                continue
            since = self._silent.setdefault(pod.uid, sight.now)
            if sight.now - since < SILENT_FOR or asked == AT_ONCE:
                continue
            asked += 1
            self._silent[pod.uid] = sight.now
            if not await self.cluster.has_pod(namespace=sight.key[0], name=pod.name, uid=pod.uid):
                logger.warning("pod_gone_unseen", extra={"pod": pod.name, "uid": pod.uid})
                self.world.gone.add(pod.uid)

    def forget(self) -> None:
        """Drop what is remembered of pods that the watch shows no more."""
        shown = {pod.uid for pods in self.world.all_pods.values() for pod in pods}
        self.world.gone &= shown
        self._silent = {uid: at for uid, at in self._silent.items() if uid in shown}
