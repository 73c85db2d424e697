"""Why workers that were asked for do not come, beyond what their pods say themselves.

Starting is part of a healthy life for a while only. What Kubernetes says goes first; where it says
nothing, the time that a start usually takes is the measure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore_operator.core.kubernetes.containers import condition
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.trouble import Trouble

PRIOR_STARTUP = 10.0
"""Seconds that a worker takes to start, until one was seen to: schedule, pull nothing, import."""

REFUSED_AFTER = 2.0
"""Seconds for which Kubernetes must have refused pods: it asks again by itself, and of many pods
made at once a quota refuses some for a moment only."""

WORDS_AFTER = 8.0
"""Seconds after which a warning about a pod that has no process yet counts: a volume may come a
moment later than its pod."""

PROBES_AFTER = 12.0
"""Seconds after its start in which a worker need not answer its probes, where a start usually takes
less than a third of that."""

USUAL_STARTS = 3.0
"""A step of a start that takes so many times as long as starts usually do is overdue."""

PULLS = 2.0
"""A pull of an image may take so many times as long as another step."""

RETRIED_AFTER, RECENT = 5.0, 60.0
"""Seconds without a ready worker after which the words of a pod that is over count, and seconds for
which they do: a node that refuses one pod refuses its successors too."""

PATIENCE = 600.0
"""Seconds for which a start without a word of warning is healthy beside workers that are ready."""

HALTED_AFTER = 3.0
"""Seconds after which jobs that wait without any worker being asked for are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Since when things are as they should not stay. Seconds of the caller's clock."""

    refused: float | None = None
    """Kubernetes does not make pods."""

    unready: float | None = None
    """Workers are asked for, and none is ready."""

    halted: float | None = None
    """Jobs wait, no worker is there, and none is asked for."""

    def seen(self, *, refused: bool, unready: bool, halted: bool, now: float) -> "Since":
        """With what is seen now."""
        return Since(
            refused=_began(self.refused, refused, now=now),
            unready=_began(self.unready, unready, now=now),
            halted=_began(self.halted, halted, now=now),
        )

    def is_halted(self, *, now: float) -> bool:
        """Whether users should know that jobs wait for nobody."""
        return self.halted is not None and now - self.halted >= HALTED_AFTER


def _began(since: float | None, holds: bool, *, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since


def overdue_after(startup: float | None) -> float:
    """Seconds without any progress or word after which a start is overdue; `startup` is what starts
    usually take, if known."""
    usual = PRIOR_STARTUP if startup is None else startup
    return max(PROBES_AFTER, USUAL_STARTS * usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is seen of the workers that should be there. `now` is the caller's clock, `epoch` the
    same moment in seconds since the epoch."""

    pods: tuple[Pod, ...]
    """Those that were not asked to end."""

    remains: tuple[Pod, ...] = ()
    """Those that are over, as their nodes refused or evicted them."""

    missing: int = 0
    """Replicas without a pod."""

    is_rolling: bool = False
    refused: Trouble | None = None
    stuck: Trouble | None = None
    words: Mapping[str, Trouble]
    """What Kubernetes and the workers themselves say of pods that are not ready, by their uid."""

    startup: float | None = None
    """Seconds that a start usually takes."""

    now: float
    epoch: float


def obstacle(scene: Scene, since: Since) -> Trouble | None:
    """The reason why workers are missing; None while that is part of a healthy life."""
    lacks = scene.missing > 0 or scene.is_rolling
    if scene.refused and lacks and _is_over(since.refused, REFUSED_AFTER, now=scene.now):
        return scene.refused
    if scene.stuck and lacks:
        return scene.stuck
    unready = sorted(
        (pod for pod in scene.pods if not pod.ready and not pod.trouble),
        key=lambda pod: (pod.unready_since or scene.epoch, pod.name),
    )
    for pod in unready:
        if trouble := _pods_words(pod, scene):
            return trouble
    if any(pod.ready for pod in scene.pods):
        late = [pod for pod in unready if _idle(pod, scene) >= _patience(pod, scene, beside=True)]
        return _overdue("some workers are", late[0], scene) if late else None
    if _is_over(since.unready, RETRIED_AFTER, now=scene.now) and (
        words := _newest_words(scene.remains, since=scene.epoch - RECENT)
    ):
        return words
    if not scene.pods and _is_over(since.unready, PROBES_AFTER, now=scene.now):
        return Trouble(
            reason="StartOverdue",
            message=f"Kubernetes has made no pod for {PROBES_AFTER:g} s, and does not say why",
        )
    late = [pod for pod in unready if _idle(pod, scene) >= _patience(pod, scene, beside=False)]
    if late and len(late) == len(unready):
        return _overdue("no worker is", late[0], scene)
    return None


def _is_over(since: float | None, seconds: float, *, now: float) -> bool:
    return since is not None and now - since >= seconds


def _idle(pod: Pod, scene: Scene) -> float:
    """Seconds for which the pod has come no further."""
    since = max(filter(None, (pod.unready_since, pod.stage_since)), default=scene.epoch)
    return scene.epoch - since


def _patience(pod: Pod, scene: Scene, *, beside: bool) -> float:
    """Seconds without progress that are healthy for a pod of which nobody says anything, beside
    workers that are ready or alone."""
    usual = overdue_after(scene.startup) * (PULLS if pod.is_pulling else 1.0)
    return max(PATIENCE, usual) if beside else usual


def _pods_words(pod: Pod, scene: Scene) -> Trouble | None:
    trouble = scene.words.get(pod.uid)
    if trouble is None:
        return None
    # A process may only be slow to start, whatever its probes say; a pod without one is not.
    usual = USUAL_STARTS * (scene.startup or 0.0)
    patience = max(PROBES_AFTER, usual) if pod.running else WORDS_AFTER
    return trouble if _idle(pod, scene) >= patience else None


def _overdue(who: str, pod: Pod, scene: Scene) -> Trouble:
    stage = pod.stage or "is not ready"
    return Trouble(
        reason="StartOverdue",
        message=f"{who} not ready; pod {pod.name}: {stage}, for longer than a start may take",
    )


def _newest_words(pods: Iterable[Pod], *, since: float) -> Trouble | None:
    told = [pod for pod in pods if pod.trouble and (pod.created or 0.0) >= since]
    return max(told, key=lambda pod: (pod.created or 0.0, pod.name)).trouble if told else None


def pods_refused(status: Mapping[str, Any]) -> Trouble | None:
    """Why a Deployment with this status lacks pods: a quota, an admission rule, a missing account.

    Kubernetes takes the condition away with the next pod that it could make.
    """
    found = condition(status, "ReplicaFailure")
    if found.get("status") != "True":
        return None
    # The name of a pod that was never made is another one at each attempt.
    said = _UNMADE.sub("", found.get("message") or "no message")
    return Trouble(
        reason=found.get("reason") or "FailedCreate",
        message=f"Kubernetes refuses pods: {said}",
    )


def rollout_stuck(status: Mapping[str, Any]) -> Trouble | None:
    """Why a Deployment with this status makes no progress: its deadline has passed (10 minutes), it
    cannot make a ReplicaSet, or somebody has paused it."""
    found = condition(status, "Progressing")
    reason = found.get("reason") or "ProgressDeadlineExceeded"
    if found.get("status") != "False" and reason != "DeploymentPaused":
        return None
    said = found.get("message") or "no message"
    return Trouble(reason=reason, message=f"the Deployment makes no progress: {said}")


_UNMADE = re.compile(r'^pods "[^"]*" is forbidden: ')
