"""The way between workers and RabbitMQ is slow, lossy or swallows everything."""

from __future__ import annotations

import random
import time

from chaos import targets
from chaos.nemesis import Act, Hit, Trick
from chaos.stage import HEARTBEAT, Stage


def _latency(stage: Stage, dice: random.Random) -> Hit | None:
    """Every piece of data is late, but comes: nobody loses a connection."""
    delay = stage.folder / "delay"
    delay.write_text(str(dice.randint(50, 500)))
    try:
        time.sleep(dice.uniform(8.0, 15.0))
    finally:
        delay.write_text("0")
    return Hit()


def _dropping(*rule: str, seconds: tuple[float, float]) -> Act:
    def act(stage: Stage, dice: random.Random) -> Hit | None:
        worker = targets.worker(stage, dice)
        if worker is None:
            return None
        # The kubelet's probes come from the node and must not be lost with the rest.
        rules = [
            ("INPUT", "--protocol", "tcp", "--match", "multiport", "--source-ports", PORTS),
            ("OUTPUT", "--protocol", "tcp", "--match", "multiport", "--destination-ports", PORTS),
        ]
        try:
            for words in rules:
                targets.firewall(worker.parent, "--append", *words, *rule, "--jump", "DROP")
            time.sleep(dice.uniform(*seconds))
        finally:
            targets.open_firewall(worker.parent)
        return Hit(pods=(worker.pod,), tail=4.0 * HEARTBEAT)

    return act


PORTS = "5672,25672"
GROUP = "network"
TRICKS = (
    Trick(name="latency", act=_latency, group=GROUP),
    Trick(
        name="loss",
        act=_dropping(
            *("--match", "statistic", "--mode", "random", "--probability", "0.2"),
            seconds=(8.0, 15.0),
        ),
        group=GROUP,
    ),
    Trick(name="black-hole", act=_dropping(seconds=(5.0, 25.0)), group=GROUP),
)
