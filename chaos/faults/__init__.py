"""All faults, by what they hit."""

from __future__ import annotations

from chaos.faults import cluster, network, objects, operator, rabbitmq, workers
from chaos.nemesis import Trick

ALL: tuple[Trick, ...] = (
    *workers.TRICKS,
    *operator.TRICKS,
    *rabbitmq.TRICKS,
    *network.TRICKS,
    *cluster.TRICKS,
    *objects.TRICKS,
)

SHORT: tuple[Trick, ...] = tuple(
    trick
    for trick in ALL
    if trick.name
    in {
        *("kill-child", "kill-zygote", "kill-parent", "stop-parent", "delete-pod"),
        *("delete-pod-now", "kill-operator", "kill-rabbitmq", "close-connections"),
    }
)
"""Those of `make chaos-short`: quick to heal."""
