"""Finds out why pods do not become ready when their status does not say.

Only Events report a volume that cannot be mounted or a sandbox that cannot be created; only the
worker knows why RabbitMQ sends no jobs to it. Both are asked only about pods that have been
starting for a while, so that healthy starts cost nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling.sight import Sight
from longshore_operator.trouble import Trouble

ASK_AFTER = 6.0
"""Seconds without progress after which a pod that is not ready is examined."""

ASK_EVERY = 4.0
"""Seconds between two questions about one pod."""

AT_ONCE = 2
"""Pods of one TaskQueue that are examined in one tick: one is representative of all."""

Ask = Callable[[str], Awaitable["Answer | None"]]
"""Asks the worker at an address; returns None if there is no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says about itself."""

    is_ready: bool
    trouble: str
    """Why it is not ready; empty while it is only starting."""


@dataclass(slots=True, kw_only=True)
class Warnings:
    """Asks about pods that do not become ready."""

    workloads: Workloads
    ask: Ask
    _asked: dict[str, float] = field(default_factory=dict)
    """When each pod was last asked about, by uid."""

    def is_due(self, sight: Sight) -> bool:
        """Return whether there is a pod for `look` to ask about."""
        return any(self._is_due(pod, now=sight.now) for pod in _waiting(sight))

    def _is_due(self, pod: Pod, *, now: float) -> bool:
        return now - self._asked.get(pod.uid, -ASK_EVERY) >= ASK_EVERY

    async def look(self, sight: Sight, before: Mapping[str, Trouble]) -> Mapping[str, Trouble]:
        """Return what is known of pods that are not ready, by uid; `before` is the last answer.
        Raises Transient."""
        waiting = _waiting(sight)
        words = {pod.uid: before[pod.uid] for pod in waiting if pod.uid in before}
        due = [pod for pod in waiting if self._is_due(pod, now=sight.now)]
        for pod in sorted(due, key=lambda pod: (pod.unready_since or 0.0, pod.name))[:AT_ONCE]:
            self._asked[pod.uid] = sight.now
            found = await self._words(sight.key, pod)
            if found is not None:
                words[pod.uid] = found
            else:
                words.pop(pod.uid, None)
        return words

    async def _words(self, key: Key, pod: Pod) -> Trouble | None:
        answer = await self.ask(pod.address) if pod.running and pod.address else None
        if answer is not None and not answer.is_ready:
            if not answer.trouble:
                return None  # it reports that it is still importing its handlers
            return Trouble(reason="WorkerNotConsuming", message=f"pod {pod.name}: {answer.trouble}")
        warned = [
            each
            for each in await self.workloads.warnings(key, pod)
            if pod.stage_since is None or each.at >= pod.stage_since
        ]
        if not warned:
            return None
        newest = max(warned, key=lambda each: each.at)
        return Trouble(reason=newest.reason, message=f"pod {pod.name}: {newest.message}")

    def forget(self, *, now: float) -> None:
        """Drop what is remembered of pods that nobody asks about any more."""
        self._asked = {uid: at for uid, at in self._asked.items() if now - at < 10 * ASK_EVERY}


def _waiting(sight: Sight) -> list[Pod]:
    """Return pods that should have made progress by now and whose status does not say why not."""
    return [
        pod
        for pod in sight.staying
        if not pod.ready
        and not pod.trouble
        and sight.epoch - max(pod.unready_since or 0.0, pod.stage_since or 0.0) >= ASK_AFTER
    ]
