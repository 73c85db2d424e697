"""The operator is killed, at rest and in the middle of what it does. No job may notice."""

from __future__ import annotations

import json
import random
import signal
import time

from chaos import targets
from chaos.kinds import Queue
from chaos.nemesis import Hit, Trick
from chaos.stage import NAMESPACE, Stage, forget_back_off
from dev import paths
from dev.errors import NotReady
from dev.kube import wait_for

SOON = 10.0
"""Seconds for the kubelet to start it again. It waits longer after each kill."""

BACK = 60.0
"""Seconds for another pod to do so."""

VICTIM = "victim"
"""A TaskQueue that comes and goes."""


def _kill(stage: Stage) -> Hit | None:
    before = targets.operator(stage)
    if before is None:
        return None
    before.send(signal.SIGKILL)

    def is_back() -> bool:
        now = targets.operator(stage)
        return now is not None and now.pid != before.pid

    try:
        wait_for("another operator", is_back, seconds=SOON)
    except NotReady:
        wait_for("the API server", lambda: forget_back_off(stage.kube), seconds=BACK)
        wait_for("another operator", is_back, seconds=BACK)
    return Hit()


def _kill_at_rest(stage: Stage, _: random.Random) -> Hit | None:
    return _kill(stage)


def _kill_in_reconcile(stage: Stage, dice: random.Random) -> Hit | None:
    change = {"spec": {"retry": {"maxDelay": f"{dice.randint(2, 9)}s"}}}
    _patch(stage, Queue.QUICK, change)
    time.sleep(dice.uniform(0.0, 0.5))
    return _kill(stage)


def _kill_in_scale_in(stage: Stage, dice: random.Random) -> Hit | None:
    """A floor that comes and goes makes workers that are soon not needed."""
    _patch(stage, Queue.QUICK, {"spec": {"scaling": {"min": 2}}})
    try:
        time.sleep(dice.uniform(3.0, 6.0))
    finally:
        _patch(stage, Queue.QUICK, {"spec": {"scaling": {"min": 1}}})
    time.sleep(dice.uniform(0.5, 4.0))
    return _kill(stage)


def _kill_in_deletion(stage: Stage, dice: random.Random) -> Hit | None:
    image = json.loads(paths.IMAGES_RECORD.read_text())["worker"]
    stage.apply(stage.task_queue(VICTIM, image=image, scaling={"min": 0}))
    where = (f"tq/{VICTIM}", f"--namespace={NAMESPACE}")
    stage.kube.kubectl("wait", *where, "--for=condition=QueueDeclared", "--timeout=60s")
    stage.kube.kubectl("delete", *where, "--wait=false")
    time.sleep(dice.uniform(0.0, 2.0))
    hit = _kill(stage)
    wait_for("the victim is gone", lambda: VICTIM not in _task_queues(stage), seconds=120)
    return hit


def _task_queues(stage: Stage) -> list[str]:
    found = stage.kube.get("taskqueues", f"--namespace={NAMESPACE}")
    return [each["metadata"]["name"] for each in found["items"]]


def _patch(stage: Stage, name: str, change: object) -> None:
    words = (f"tq/{name}", f"--namespace={NAMESPACE}", "--type=merge")
    stage.kube.kubectl("patch", *words, f"--patch={json.dumps(change)}")


GROUP = "operator"
TRICKS = (
    Trick(name="kill-operator", act=_kill_at_rest, group=GROUP),
    Trick(name="kill-operator-in-reconcile", act=_kill_in_reconcile, group=GROUP),
    Trick(name="kill-operator-in-scale-in", act=_kill_in_scale_in, group=GROUP),
    Trick(name="kill-operator-in-deletion", act=_kill_in_deletion, group=GROUP),
)
