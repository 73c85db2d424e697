"""Workloads without Kubernetes: each worker is an entry in memory."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from longshore_operator.app.ports.workloads import Placed, WantedWorkers
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.containers import Warned
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.owner import Owner
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.kubernetes.rollout import rollout
from longshore_operator.core.scaling.sight import Asked
from longshore_operator.errors import Transient


@dataclass
class InMemory:
    """Starts and ends workers at once."""

    asked: dict[Key, DeploymentObject] = field(default_factory=dict)
    images: dict[Key, str] = field(default_factory=dict)
    alive: dict[Key, dict[str, Pod]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def workload(self, key: Key) -> DeploymentObject | None:
        return self.asked.get(key)

    def workers(self, key: Key) -> tuple[Pod, ...]:
        return tuple(self.alive.get(key, {}).values())

    def remains(self, key: Key) -> tuple[Pod, ...]:
        return ()

    async def ensure(self, owner: Owner, wanted: WantedWorkers) -> Placed:
        key = owner.namespace, owner.name
        before = self.images.get(key)
        after = self.images[key] = wanted.spec.worker.image
        if key not in self.asked:
            ceiling = wanted.spec.scaling.max
            self.asked[key] = DeploymentObject(
                replicas=0, uid=owner.uid, generation=1, rollout=rollout(0, ceiling=ceiling)
            )
        return Placed(name=f"workers of {owner.name}", before=before, after=after)

    async def bound_evictions(self, owner: Owner) -> Placed:
        return Placed(name=f"evictions of {owner.name}", before=None, after="nobody evicts them")

    def standing(self, key: Key) -> Mapping[str, str]:
        image = self.images.get(key)
        return {f"workers of {key[1]}": image} if image else {}

    async def scale(
        self,
        key: Key,
        workload: DeploymentObject,
        *,
        to: int,
        ceiling: int,
        before: int | None = None,
        most_workers: int | None = None,
    ) -> Asked:
        found, alive = self.asked[key], self.alive.setdefault(key, {})
        if before not in (None, found.replicas) or workload.uid != found.uid:
            raise Transient("it has changed", reason="Conflict")
        if most_workers is not None and len(alive) > most_workers:
            raise Transient(f"more than {most_workers} are there", reason="Conflict")
        going = sorted(alive.values(), key=lambda each: not each.is_marked)
        for worker in going[: max(0, len(alive) - to)]:
            self.ended.append(worker.name)
            del alive[worker.name]
        while len(alive) < to:
            name = f"{key[1]}-{next(self.numbers)}"
            alive[name] = Pod(
                name=name, uid=name, running=True, ready=True, ending=False, created=0.0
            )
        after = replace(
            found,
            replicas=to,
            generation=found.generation + 1,
            rollout=rollout(to, ceiling=ceiling),
        )
        self.asked[key] = after
        return Asked(
            replicas=to,
            rollout=rollout(to, ceiling=ceiling),
            generation=after.generation,
            uid=after.uid,
        )

    async def retire(self, key: Key, worker: Pod) -> None:
        self._set(key, worker, is_marked=True)

    async def spare(self, key: Key, worker: Pod) -> None:
        self._set(key, worker, is_marked=False)

    async def protect(self, key: Key, worker: Pod) -> None:
        self._set(key, worker, is_protected=True)

    async def unprotect(self, key: Key, worker: Pod) -> None:
        self._set(key, worker, is_protected=False)

    def _set(self, key: Key, worker: Pod, **marks: Any) -> None:
        if not self._is_there(key, worker):
            raise Transient(f"{worker.name} is gone", reason="NotFound")
        alive = self.alive[key]
        alive[worker.name] = replace(alive[worker.name], **marks)

    async def is_there(self, key: Key, worker: Pod) -> bool:
        return self._is_there(key, worker)

    def _is_there(self, key: Key, worker: Pod) -> bool:
        found = self.alive.get(key, {}).get(worker.name)
        return found is not None and found.uid == worker.uid

    async def warnings(self, key: Key, worker: Pod) -> list[Warned]:
        return []

    async def retry(self, key: Key, *, at: str) -> None:
        return
