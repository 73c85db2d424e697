"""Finds why requested workers are missing, beyond what their pods report.

A worker may be starting only for a while. What Kubernetes reports comes first; if it reports
nothing, a start is compared with the time that starts usually take.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore_operator.core.kubernetes.containers import condition
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.trouble import Trouble

PRIOR_STARTUP = 10.0
"""Seconds that a worker is assumed to take to start until one was measured: it is scheduled, pulls
no image, and imports its modules."""

REFUSED_AFTER = 2.0
"""Seconds for which Kubernetes must have refused pods. It retries by itself, and a quota refuses
some of many pods that are created at once only for a moment."""

WORDS_AFTER = 8.0
"""Seconds after which a warning about a pod that has no process yet counts: a volume may appear a
moment later than its pod."""

PROBES_AFTER = 12.0
"""Seconds after its start in which a worker need not answer its probes, if a start usually takes
less than a third of that."""

USUAL_STARTS = 3.0
"""A step of a start is overdue after this many times the time that a start usually takes."""

PULLS = 2.0
"""Pulling an image may take this many times as long as another step."""

RETRIED_AFTER, RECENT = 5.0, 60.0
"""Seconds without a ready worker after which the message of an ended pod counts, and seconds for
which it counts: a node that refuses one pod refuses its successors too."""

PATIENCE = 600.0
"""Seconds for which a start without a warning counts as healthy if other workers are ready."""

HALTED_AFTER = 3.0
"""Seconds after which waiting jobs are reported if no worker is requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Since when each state that must not last has lasted. Seconds of the caller's clock."""

    refused: float | None = None
    """Kubernetes creates no pods."""

    unready: float | None = None
    """Workers are requested, and none is ready."""

    halted: float | None = None
    """Jobs wait, there is no worker, and none is requested."""

    def seen(self, *, refused: bool, unready: bool, halted: bool, now: float) -> "Since":
        """Return this with what is seen now."""
        return Since(
            refused=_began(self.refused, refused, now=now),
            unready=_began(self.unready, unready, now=now),
            halted=_began(self.halted, halted, now=now),
        )

    def is_halted(self, *, now: float) -> bool:
        """Return whether users should be told that jobs wait and no worker will come."""
        return self.halted is not None and now - self.halted >= HALTED_AFTER


def _began(since: float | None, holds: bool, *, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since


def overdue_after(startup: float | None) -> float:
    """Return after how many seconds without progress or message a start is overdue; `startup` is
    the time that starts usually take, if known."""
    usual = PRIOR_STARTUP if startup is None else startup
    return max(PROBES_AFTER, USUAL_STARTS * usual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is seen of the workers that should exist. `now` is the caller's clock, `epoch` the same
    moment in seconds since the epoch."""

    pods: tuple[Pod, ...]
    """Pods that are not being terminated."""

    remains: tuple[Pod, ...] = ()
    """Pods that have ended for good because their nodes refused or evicted them."""

    missing: int = 0
    """Replicas without a pod."""

    is_rolling: bool = False
    refused: Trouble | None = None
    stuck: Trouble | None = None
    words: Mapping[str, Trouble]
    """What Kubernetes and the workers report about pods that are not ready, by uid."""

    startup: float | None = None
    """Seconds that a start usually takes."""

    now: float
    epoch: float


def obstacle(scene: Scene, since: Since) -> Trouble | None:
    """Return why workers are missing; None while that is normal."""
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
            message=f"Kubernetes has created no pod for {PROBES_AFTER:g} s and gives no reason",
        )
    late = [pod for pod in unready if _idle(pod, scene) >= _patience(pod, scene, beside=False)]
    if late and len(late) == len(unready):
        return _overdue("no worker is", late[0], scene)
    return None


def _is_over(since: float | None, seconds: float, *, now: float) -> bool:
    return since is not None and now - since >= seconds


def _idle(pod: Pod, scene: Scene) -> float:
    """Return for how many seconds the pod has made no progress."""
    since = max(filter(None, (pod.unready_since, pod.stage_since)), default=scene.epoch)
    return scene.epoch - since


def _patience(pod: Pod, scene: Scene, *, beside: bool) -> float:
    """Return for how many seconds a pod about which nothing is reported may make no progress;
    `beside` tells whether other workers are ready."""
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
        message=f"{who} not ready; pod {pod.name}: {stage}, for longer than a start should take",
    )


def _newest_words(pods: Iterable[Pod], *, since: float) -> Trouble | None:
    told = [pod for pod in pods if pod.trouble and (pod.created or 0.0) >= since]
    return max(told, key=lambda pod: (pod.created or 0.0, pod.name)).trouble if told else None


def pods_refused(status: Mapping[str, Any]) -> Trouble | None:
    """Return why a Deployment with this status lacks pods: a quota, an admission rule, or a missing
    service account.

    Kubernetes removes the condition with the next pod that it can create.
    """
    found = condition(status, "ReplicaFailure")
    if found.get("status") != "True":
        return None
    # A pod that could not be created has another name at each attempt.
    said = _UNMADE.sub("", found.get("message") or "no message")
    return Trouble(
        reason=found.get("reason") or "FailedCreate",
        message=f"Kubernetes refuses pods: {said}",
    )


def rollout_stuck(status: Mapping[str, Any]) -> Trouble | None:
    """Return why a Deployment with this status makes no progress: its deadline (10 minutes) has
    passed, it cannot create a ReplicaSet, or it is paused."""
    found = condition(status, "Progressing")
    reason = found.get("reason") or "ProgressDeadlineExceeded"
    if found.get("status") != "False" and reason != "DeploymentPaused":
        return None
    said = found.get("message") or "no message"
    return Trouble(reason=reason, message=f"the Deployment makes no progress: {said}")


_UNMADE = re.compile(r'^pods "[^"]*" is forbidden: ')
