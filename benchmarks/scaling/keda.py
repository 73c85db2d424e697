"""KEDA 2.20 with the HPA of Kubernetes, as their sources have it.

KEDA polls and switches between 0 and 1; the HPA, every 15 s, does the rest between 1 and max, on a
value that it reads then. Neither knows which pod is busy: a ReplicaSet's controller picks.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from benchmarks.scaling.fleet import Fleet, Pod, State

SYNC = 15.0
TOLERANCE = 0.1
STABILIZATION = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a user of KEDA sets. `value` is jobs for each pod."""

    name: str
    value: int
    poll: float = 30.0
    cooldown: float = 300.0
    counts_unacked: bool = True
    """Over HTTP it sees jobs that run, over AMQP it does not."""

    grace: float = 30.0


SETTINGS = (
    Setting(name="KEDA default", value=20),
    Setting(name="KEDA tuned", value=5, poll=5.0, cooldown=60.0),
    Setting(name="KEDA value 1, HTTP", value=1),
    Setting(name="KEDA value 1, AMQP", value=1, counts_unacked=False),
    Setting(name="KEDA value 1, HTTP, grace 1 h", value=1, grace=3600.0),
)


@dataclass(slots=True)
class Keda:
    """The controllers. Both loops begin at a random phase."""

    setting: Setting
    most: int
    chance: Random
    _poll_at: float = 0.0
    _sync_at: float = 0.0
    _last_active: float = -math.inf
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._poll_at = self.chance.uniform(0, self.setting.poll)
        self._sync_at = self.chance.uniform(0, SYNC)

    def next_look(self, _now: float) -> float:
        """The sooner of the two loops."""
        return min(self._poll_at, self._sync_at)

    def look(self, fleet: Fleet, now: float) -> None:
        """Whichever loop is due."""
        if now >= self._poll_at:
            self._poll_at += self.setting.poll
            self._poll(fleet, now)
        if now >= self._sync_at:
            self._sync_at += SYNC
            self._sync(fleet, now)

    def _metric(self, fleet: Fleet) -> int:
        return len(fleet.queue) + (fleet.busy if self.setting.counts_unacked else 0)

    def _poll(self, fleet: Fleet, now: float) -> None:
        if self._metric(fleet) > 0:
            self._last_active = now
            if not fleet.pods:
                fleet.add(1, now)
        elif fleet.pods and now - self._last_active >= self.setting.cooldown:
            fleet.end(list(fleet.pods.values()), now)

    def _sync(self, fleet: Fleet, now: float) -> None:
        current = len(fleet.pods)
        if current == 0:
            return  # with 0 replicas the HPA is disabled
        metric, value = self._metric(fleet), self.setting.value
        desired = math.ceil(metric / value)
        if abs(1 - metric / (value * current)) <= TOLERANCE:
            desired = current
        recommended = self._recommended
        while recommended and recommended[0][0] <= now - STABILIZATION:
            recommended.popleft()
        recommended.append((now, desired))
        most_lately = max(count for _, count in recommended)
        target = min(max(current, desired), most_lately)
        if target > current:
            target = min(target, max(current + 4, current * 2))
        target = min(max(target, 1), self.most)
        if target > current:
            fleet.add(target - current, now)
        elif target < current:
            fleet.end(victims(fleet.pods.values(), current - target, self.chance, now), now)


def victims(pods: Iterable[Pod], count: int, chance: Random, now: float) -> list[Pod]:
    """Whom a ReplicaSet's controller takes: those that are not ready, then the youngest, by the
    power of two of their age, then any."""

    def rank(pod: Pod) -> tuple[int, int, float]:
        if pod.state is State.STARTING:
            return (0, 0, chance.random())
        # Of nanoseconds, as in the controller.
        return (1, int(math.log2(max((now - pod.up) * 1e9, 1.0))), chance.random())

    return sorted(pods, key=rank)[:count]
