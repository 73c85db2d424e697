"""A worker's processes are killed or stopped, its pod is deleted."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from chaos import targets
from chaos.nemesis import Act, Hit, Trick
from chaos.stage import HEARTBEAT, NAMESPACE, Stage
from chaos.targets import Process, Worker

Part = Callable[[Worker, random.Random], Process | None]


def _child(worker: Worker, dice: random.Random) -> Process | None:
    return dice.choice(worker.children)


def _zygote(worker: Worker, _: random.Random) -> Process | None:
    return worker.zygote


def _parent(worker: Worker, _: random.Random) -> Process | None:
    return worker.parent


def _kill(part: Part) -> Act:
    def act(stage: Stage, dice: random.Random) -> Hit | None:
        worker = targets.worker(stage, dice)
        process = worker and part(worker, dice)
        if not worker or not process:
            return None
        process.send(signal.SIGKILL)
        # A zygote takes its worker with it, which ends on its own terms.
        return Hit(pods=(worker.pod,), tail=3.0)

    return act


def _stop(part: Part, *, seconds: tuple[float, float], tail: float = 0.5) -> Act:
    def act(stage: Stage, dice: random.Random) -> Hit | None:
        worker = targets.worker(stage, dice)
        process = worker and part(worker, dice)
        if not worker or not process:
            return None
        process.send(signal.SIGSTOP)
        try:
            time.sleep(dice.uniform(*seconds))
        finally:
            process.send(signal.SIGCONT)
        return Hit(pods=(worker.pod,), tail=tail)

    return act


def _delete_pod(stage: Stage, dice: random.Random) -> Hit | None:
    """With its grace: jobs that run end, so nobody is hit."""
    worker = targets.worker(stage, dice)
    if worker is None:
        return None
    words = (f"--namespace={NAMESPACE}", "--wait=false", "--ignore-not-found")
    stage.kube.kubectl("delete", "pod", worker.pod, *words)
    return Hit()


def _delete_pod_now(stage: Stage, dice: random.Random) -> Hit | None:
    worker = targets.worker(stage, dice)
    if worker is None:
        return None
    words = (f"--namespace={NAMESPACE}", "--grace-period=0", "--force", "--ignore-not-found")
    stage.kube.kubectl("delete", "pod", worker.pod, *words)
    # The kubelet still gives it up to 2 s.
    return Hit(pods=(worker.pod,), tail=5.0)


GROUP = "workers"
TRICKS = (
    Trick(name="kill-child", act=_kill(_child), group=GROUP),
    Trick(name="kill-zygote", act=_kill(_zygote), group=GROUP),
    Trick(name="kill-parent", act=_kill(_parent), group=GROUP),
    Trick(name="stop-child", act=_stop(_child, seconds=(1.0, 5.0)), group=GROUP),
    Trick(name="stop-zygote", act=_stop(_zygote, seconds=(1.0, 5.0)), group=GROUP),
    Trick(
        name="stop-parent",
        act=_stop(_parent, seconds=(2.0, 4 * HEARTBEAT), tail=2.0),
        group=GROUP,
    ),
    Trick(name="delete-pod", act=_delete_pod, group=GROUP),
    Trick(name="delete-pod-now", act=_delete_pod_now, group=GROUP),
)
