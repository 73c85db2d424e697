"""Asks what keeps workers from coming, and has Kubernetes try again where it was refused."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.scaling.state import ScalingRecord
from longshore_operator.app.scaling.warnings import Warnings
from longshore_operator.core.scaling.sight import Sight

ASKERS = 8
"""TaskQueues whose pods are asked about at the same time."""

RETRY_PODS_EVERY = 15.0
"""Seconds between two requests to make pods that were refused. Kubernetes itself tries again after
ever longer pauses, of up to 17 minutes."""


@dataclass(slots=True, kw_only=True)
class Obstacles:
    """`new_id` gives a text that was not given before."""

    workloads: Workloads
    warnings: Warnings
    new_id: Callable[[], str]
    _askers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKERS))

    def is_retry_due(self, sight: Sight, record: ScalingRecord) -> bool:
        """Whether Kubernetes should try again to make pods that it was refused."""
        refused = record.state.since.refused
        last = max(record.retried_at, -inf if refused is None else refused)
        return (
            sight.deployment is not None
            and record.state.obstacle is not None
            and record.state.obstacle == sight.deployment.refused
            and sight.now - last >= RETRY_PODS_EVERY
        )

    async def retry_pods(self, sight: Sight, record: ScalingRecord) -> None:
        """Have missing pods made as soon as they may be. Raises Transient or Invalid."""
        if self.is_retry_due(sight, record):
            record.retried_at = sight.now
            await self.workloads.retry(sight.key, at=self.new_id())

    def is_ask_due(self, sight: Sight, record: ScalingRecord) -> bool:
        """Whether somebody should be asked about pods that do not get ready."""
        if not record.is_asking:
            return self.warnings.is_due(sight) or bool(record.words)
        return False

    async def ask(self, sight: Sight, record: ScalingRecord) -> None:
        """Find out what is said of pods that do not get ready. Raises Transient or Invalid.

        A worker that a NetworkPolicy keeps from answering takes its time: nothing waits for this.
        """
        record.is_asking = True
        try:
            async with self._askers:
                record.words = await self.warnings.look(sight, record.words)
        finally:
            record.is_asking = False

    def forget(self, *, now: float) -> None:
        """Drop what need not be remembered."""
        self.warnings.forget(now=now)
