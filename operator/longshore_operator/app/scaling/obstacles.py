"""Finds out why workers do not start, and has Kubernetes retry pods that were refused."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.app.scaling.state import ScalingRecord
from longshore_operator.app.scaling.warnings import Warnings
from longshore_operator.core.scaling.sight import Sight

ASKERS = 8
"""TaskQueues whose pods are examined at the same time."""

RETRY_PODS_EVERY = 15.0
"""Seconds between two requests to create pods that were refused. Kubernetes itself retries after
ever longer pauses, of up to 17 minutes."""


@dataclass(slots=True, kw_only=True)
class Obstacles:
    """`new_id` gives a text that it has not given before."""

    workloads: Workloads
    warnings: Warnings
    new_id: Callable[[], str]
    _askers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ASKERS))

    def is_retry_due(self, sight: Sight, record: ScalingRecord) -> bool:
        """Return whether Kubernetes should try again to create pods that were refused."""
        refused = record.state.since.refused
        last = max(record.retried_at, -inf if refused is None else refused)
        return (
            sight.deployment is not None
            and record.state.obstacle is not None
            and record.state.obstacle == sight.deployment.refused
            and sight.now - last >= RETRY_PODS_EVERY
        )

    async def retry_pods(self, sight: Sight, record: ScalingRecord) -> None:
        """Have missing pods created as soon as that is allowed. Raises Transient or Invalid."""
        if self.is_retry_due(sight, record):
            record.retried_at = sight.now
            await self.workloads.retry(sight.key, at=self.new_id())

    def is_ask_due(self, sight: Sight, record: ScalingRecord) -> bool:
        """Return whether it is time to examine pods that do not become ready."""
        if not record.is_asking:
            return self.warnings.is_due(sight) or bool(record.words)
        return False

    async def ask(self, sight: Sight, record: ScalingRecord) -> None:
        """Find out why pods do not become ready. Raises Transient or Invalid.

        The call is slow if a NetworkPolicy keeps a worker from answering, so nothing waits for it.
        """
        record.is_asking = True
        try:
            async with self._askers:
                record.words = await self.warnings.look(sight, record.words)
        finally:
            record.is_asking = False

    def forget(self, *, now: float) -> None:
        """Drop what is no longer needed."""
        self.warnings.forget(now=now)
