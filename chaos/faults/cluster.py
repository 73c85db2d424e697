"""The API server starts again, a worker's clock jumps, a rollout is bad and taken back."""

from __future__ import annotations

import json
import random
import time

from chaos.kinds import Queue
from chaos.nemesis import Hit, Trick
from chaos.stage import NAMESPACE, Stage
from dev.embedded.cluster import Embedded


def _restart_api_server(_: Stage, dice: random.Random) -> Hit | None:
    Embedded().restart("kube-apiserver", after=dice.uniform(1.0, 8.0))
    return Hit()


def _clock_jump(stage: Stage, dice: random.Random) -> Hit | None:
    clock = stage.folder / "clock"
    clock.write_text(f"{dice.choice((-1, 1)) * dice.randint(60, 86_400):+d}")
    try:
        time.sleep(dice.uniform(3.0, 10.0))
    finally:
        clock.write_text("+0")
    return Hit()


def _bad_rollout(stage: Stage, dice: random.Random) -> Hit | None:
    """Workers that cannot import their handlers, or whose image is missing; then as before."""
    worker = _worker(stage)
    bad = dice.choice(({"handlers": ["jobs", "missing"]}, {"image": "localhost/missing:1"}))
    _patch(stage, {"spec": {"worker": {**worker, **bad}}})
    try:
        time.sleep(dice.uniform(5.0, 15.0))
    finally:
        _patch(stage, {"spec": {"worker": worker}})
    return Hit()


def _worker(stage: Stage) -> dict[str, object]:
    found = stage.kube.get("tq", Queue.QUICK, f"--namespace={NAMESPACE}")["spec"]["worker"]
    return {"handlers": found["handlers"], "image": found["image"]}


def _patch(stage: Stage, change: object) -> None:
    words = (f"tq/{Queue.QUICK}", f"--namespace={NAMESPACE}", "--type=merge")
    stage.kube.kubectl("patch", *words, f"--patch={json.dumps(change)}")


GROUP = "cluster"
TRICKS = (
    Trick(name="restart-api-server", act=_restart_api_server, group=GROUP),
    Trick(name="clock-jump", act=_clock_jump, group=GROUP),
    Trick(name="bad-rollout", act=_bad_rollout, group=GROUP),
)
