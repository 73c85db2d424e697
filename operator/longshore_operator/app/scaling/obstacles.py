"""Notes what keeps workers from coming, and has Kubernetes try again where it was refused."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from longshore.contract.names import worker_name
from longshore_operator.app.ports.kubernetes import Cluster
from longshore_operator.app.record import Record
from longshore_operator.app.scaling.execution import Sight
from longshore_operator.app.scaling.warnings import Warnings
from longshore_operator.app.watched.world import World
from longshore_operator.core.kubernetes.obstacles import Scene, obstacle

QUOTA = "exceeded quota"
"""How the API server says that a ResourceQuota has no room."""

ASKERS = 8
"""TaskQueues whose pods are asked about at the same time."""

RETRY_PODS_EVERY = 15.0
"""Seconds between two requests to make pods that were refused. Kubernetes itself tries again after
ever longer pauses, of up to 17 minutes."""


@dataclass(slots=True, kw_only=True)
class Obstacles:
    """`new_id` gives a text that was not given before."""

    world: World
    cluster: Cluster
    warnings: Warnings
    new_id: Callable[[], str]
    _askers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKERS))

    def note(self, sight: Sight, record: Record, *, asked: int | None, epoch: float) -> None:
        """Note in `record` why workers are missing; `asked` are those asked of Kubernetes, `epoch`
        is the present in seconds since then."""
        deployment, pods = sight.deployment, sight.staying
        record.since = record.since.seen(
            refused=deployment is not None and deployment.refused is not None,
            unready=bool(asked) and not any(pod.ready for pod in pods),
            halted=bool(record.ready) and not asked and not pods,
            now=sight.now,
        )
        scene = Scene(
            pods=pods,
            remains=self.world.remains(sight.key),
            missing=record.missing.count if record.missing else 0,
            is_rolling=deployment is not None and deployment.is_rolling,
            refused=deployment.refused if deployment else None,
            stuck=deployment.stuck if deployment else None,
            words=record.words,
            startup=record.recent.startup,
            now=sight.now,
            epoch=epoch,
        )
        record.obstacle = obstacle(scene, record.since)

    def is_full(self, sight: Sight, record: Record) -> bool:
        """Whether a quota has no room for a rollout's new pods beside the old ones. It is a ceiling
        like any other then: workers are replaced one by one."""
        deployment = sight.deployment
        return (
            deployment is not None
            and deployment.is_rolling
            and deployment.refused is not None
            and record.obstacle == deployment.refused
            and QUOTA in deployment.refused.message
        )

    def is_retry_due(self, sight: Sight, record: Record) -> bool:
        """Whether Kubernetes should try again to make pods that it was refused."""
        refused = record.since.refused
        last = max(record.retried_at, -inf if refused is None else refused)
        return (
            sight.deployment is not None
            and record.obstacle is not None
            and record.obstacle == sight.deployment.refused
            and sight.now - last >= RETRY_PODS_EVERY
        )

    async def retry_pods(self, sight: Sight, record: Record) -> None:
        """Have missing pods made as soon as they may be. Raises Transient or Invalid."""
        if self.is_retry_due(sight, record):
            record.retried_at = sight.now
            namespace, name = sight.key
            await self.cluster.retry_pods(
                namespace=namespace, name=worker_name(name), at=self.new_id()
            )

    def is_ask_due(self, sight: Sight, record: Record, *, epoch: float) -> bool:
        """Whether somebody should be asked about pods that do not get ready."""
        if not record.is_asking:
            return self.warnings.is_due(sight, epoch=epoch) or bool(record.words)
        return False

    async def ask(self, sight: Sight, record: Record, *, epoch: float) -> None:
        """Find out what is said of pods that do not get ready. Raises Transient or Invalid.

        A worker that a NetworkPolicy keeps from answering takes its time: nothing waits for this.
        """
        record.is_asking = True
        try:
            async with self._askers:
                record.words = await self.warnings.look(sight, record.words, epoch=epoch)
        finally:
            record.is_asking = False

    def forget(self, *, now: float) -> None:
        """Drop what need not be remembered."""
        self.warnings.forget(now=now)
