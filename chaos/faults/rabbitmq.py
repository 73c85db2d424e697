"""A node of RabbitMQ dies, stops, is cut off or has no memory; connections are closed."""

from __future__ import annotations

import random
import signal
import time

from chaos import targets
from chaos.nemesis import Hit, Trick
from chaos.stage import HEARTBEAT, VHOST, Stage
from dev.kube import wait_for

BACK = 120.0
STOPPED = 30.0
"""Seconds for which a node is stopped: longer than any heartbeat and the nodes' own."""


def _kill_node(stage: Stage, dice: random.Random) -> Hit | None:
    number = dice.randrange(stage.nodes)
    for process in targets.node(number):
        process.send(signal.SIGKILL)
    time.sleep(1)
    _wait_until_up(stage)
    return Hit(pods=None, queues=None, tail=2.0, restarts_rabbitmq=True)


def _stop_node(stage: Stage, dice: random.Random) -> Hit | None:
    number = dice.randrange(stage.nodes)
    stopped = targets.node(number)
    for process in stopped:
        process.send(signal.SIGSTOP)
    try:
        time.sleep(STOPPED)
    finally:
        for process in stopped:
            process.send(signal.SIGCONT)
    _wait_until_up(stage)
    # Connections that it dropped while it stood still are noticed by their heartbeat.
    return Hit(pods=None, queues=None, tail=3.0 * HEARTBEAT, restarts_rabbitmq=True)


def _partition(stage: Stage, dice: random.Random) -> Hit | None:
    """One node is cut off from the others; clients reach all of them."""
    number = dice.randrange(stage.nodes)
    process = targets.node(number)[0]
    others = [targets.node_address(stage, other) for other in range(stage.nodes) if other != number]
    rules = [
        (chain, way, address)
        for address in others
        for chain, way in (("INPUT", "--source"), ("OUTPUT", "--destination"))
    ]
    try:
        for chain, way, address in rules:
            targets.firewall(process, "--append", chain, way, address, "--jump", "DROP")
        time.sleep(dice.uniform(10.0, 30.0))
    finally:
        targets.open_firewall(process)
    _wait_until_up(stage)
    return Hit(pods=None, queues=None, tail=3.0 * HEARTBEAT, restarts_rabbitmq=True)


def _memory_alarm(stage: Stage, dice: random.Random) -> Hit | None:
    """Nothing may be published for a while; no connection is lost."""
    number = dice.randrange(stage.nodes)
    stage.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "1MB", node=number)
    try:
        time.sleep(dice.uniform(5.0, 15.0))
    finally:
        stage.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "400MB", node=number)
    return Hit()


def _close_connections(stage: Stage, _: random.Random) -> Hit | None:
    stage.rabbitmqctl("close_all_connections", "--vhost", VHOST, "chaos")
    return Hit(pods=None, queues=None, tail=1.0)


def _wait_until_up(stage: Stage) -> None:
    wait_for("all nodes of RabbitMQ", stage.is_up, seconds=BACK)


GROUP = "rabbitmq"
TRICKS = (
    Trick(name="kill-rabbitmq", act=_kill_node, group=GROUP),
    Trick(name="stop-rabbitmq", act=_stop_node, group=GROUP),
    Trick(name="partition-rabbitmq", act=_partition, nodes=3, group=GROUP),
    Trick(name="memory-alarm", act=_memory_alarm, group=GROUP),
    Trick(name="close-connections", act=_close_connections, group=GROUP),
)
