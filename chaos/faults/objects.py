"""Somebody deletes by hand what the operator has made."""

from __future__ import annotations

import random
import time

from chaos.kinds import Queue
from chaos.nemesis import Hit, Trick
from chaos.stage import NAMESPACE, VHOST, Stage
from dev.kube import wait_for
from longshore.contract.delays import level_name

RESTORED = 60.0
EMPTY_LEVELS = (10, 27)
"""Levels of the delay ladder that hold no job of ours, whose delays are seconds."""


def _delete_policies(stage: Stage, _: random.Random) -> Hit | None:
    names = {each["name"] for each in stage.api("GET", "policies", VHOST)}
    for name in names:
        stage.api("DELETE", "policies", VHOST, name)
    wait_for(
        "all policies are back",
        lambda: {each["name"] for each in stage.api("GET", "policies", VHOST)} >= names,
        seconds=RESTORED,
    )
    return Hit()


def _delete_queue(stage: Stage, dice: random.Random) -> Hit | None:
    name = level_name(dice.randint(*EMPTY_LEVELS))
    stage.api("DELETE", "queues", VHOST, name)
    wait_for(
        f"queue {name} is back",
        lambda: name in {each["name"] for each in stage.api("GET", "queues", VHOST)},
        seconds=RESTORED,
    )
    return Hit()


def _delete_user(stage: Stage, dice: random.Random) -> Hit | None:
    """RabbitMQ ends the connections of a user that it deletes."""
    queue = dice.choice(list(Queue))
    users = [each["name"] for each in stage.api("GET", "users")]
    mine = [name for name in users if name.endswith(f"{NAMESPACE}.{queue}.worker")]
    if not mine:
        return None
    stage.api("DELETE", "users", mine[0])
    wait_for(
        f"user {mine[0]} is back",
        lambda: mine[0] in {each["name"] for each in stage.api("GET", "users")},
        seconds=RESTORED,
    )
    return Hit(pods=None, queues=(queue,), tail=5.0)


def _delete_secret(stage: Stage, dice: random.Random) -> Hit | None:
    name, where = f"{dice.choice(list(Queue))}-worker", f"--namespace={NAMESPACE}"
    stage.kube.kubectl("delete", "secret", name, where)
    wait_for(f"Secret {name} is back", lambda: stage.kube.get("secret", name, where), seconds=90)
    time.sleep(1)
    # Its password may be a new one, with which running workers connect only after a rollout.
    return Hit()


GROUP = "objects"
TRICKS = (
    Trick(name="delete-policies", act=_delete_policies, group=GROUP),
    Trick(name="delete-queue", act=_delete_queue, group=GROUP),
    Trick(name="delete-user", act=_delete_user, group=GROUP),
    Trick(name="delete-secret", act=_delete_secret, group=GROUP),
)
