"""Looks for foreign autoscalers, such as KEDA's, that set the number of our workers."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.contract.names import worker_name
from longshore.logs import Log
from longshore_operator.app.ports.kubernetes import Lists
from longshore_operator.app.watched.world import Key, World

log = Log(__name__)

LOOK_EVERY = 15.0
"""Seconds between two looks, each of which is one call for the whole cluster."""


@dataclass(slots=True, kw_only=True)
class Autoscalers:
    """Keeps `world.autoscalers` up to date. KEDA, too, works through an HPA."""

    world: World
    cluster: Lists
    namespace: str | None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                # What was known stays: an HPA does not vanish because the call failed.
                log.warning("autoscalers-unknown", error=repr(error))
            await asyncio.sleep(LOOK_EVERY if self.world.is_complete else 0.5)

    async def look(self) -> None:
        """Record which TaskQueues have an autoscaler. Raises Transient or Invalid."""
        found = await self.cluster.autoscalers(namespace=self.namespace)
        targets: dict[Key, Key] = {
            (key[0], worker_name(key[1])): key for key, _ in self.world.task_queues()
        }
        self.world.autoscalers = {
            targets[target]: name
            for target, name in _by_deployment(found).items()
            if target in targets
        }


def _by_deployment(autoscalers: Iterable[Mapping[str, Any]]) -> dict[Key, str]:
    found = {}
    for body in autoscalers:
        metadata, spec = body["metadata"], body["spec"]
        target = spec["scaleTargetRef"]
        if target["kind"] == "Deployment":
            found[metadata["namespace"], target["name"]] = metadata["name"]
    return found
