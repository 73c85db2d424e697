"""How long from a job's confirm until more workers are asked of Kubernetes, from zero."""

import time
from collections.abc import Callable
from random import Random

import pika

from benchmarks.cluster.stage import Stage, stage
from dev.kube import Kube, wait_for
from longshore.contract.names import JOBS_EXCHANGE

NOWHERE = {"nodeSelector": {"longshore.dev/bench": "nowhere"}}
"""No node is like that: pods stay pending and cost nothing, and so go without any proof."""


def measure(
    kube: Kube, *, samples: int, at_once: int, chance: Random, tell: Callable[[str], None]
) -> tuple[list[float], list[int]]:
    """Seconds of each sample, and the numbers that one patch of `at_once` jobs led to."""
    with stage(kube, "reaction") as here:
        scaling = {"policy": "backlog", "max": at_once, "minLife": "0s", "idleGrace": "0s"}
        here.apply(pod=NOWHERE, **scaling, steadyFor="0s")
        here.wait_until_declared()
        found = list[float]()
        with here.client() as client:
            for number in range(samples):
                tell(f"{number} of {samples} reactions")
                time.sleep(chance.uniform(0.0, 1.0))
                client.enqueue(here.queue, "work", seconds=0)
                found.append(_reaction(here, published=time.time()))
                _empty(here)
        before = len(here.seen.replicas)
        _publish_at_once(here, jobs=at_once)
        wait_for(f"{at_once} workers", lambda: here.replicas() == at_once, seconds=30)
        steps = [count for _, count in here.seen.replicas[before:]]
        _empty(here)
        return found, steps


def _publish_at_once(here: Stage, *, jobs: int) -> None:
    """Without waiting for a confirm of each, so that the operator sees all or none."""
    with here.address() as url, pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        for _ in range(jobs):
            channel.basic_publish(JOBS_EXCHANGE, here.queue, b"{}")


def _reaction(here: Stage, *, published: float) -> float:
    wait_for("workers are asked for", lambda: here.replicas() > 0, seconds=30, every=0.02)
    return max(0.0, here.seen.replicas[-1][0] - published)


def _empty(here: Stage) -> None:
    here.purge()
    wait_for("no worker is wanted", lambda: here.replicas() == 0, seconds=60, every=0.1)
