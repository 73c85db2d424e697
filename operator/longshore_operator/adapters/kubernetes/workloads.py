"""Workers in Kubernetes: a Deployment for each TaskQueue, and a PodDisruptionBudget.

A pod is retired by an annotation, which its ReplicaSet follows when the number of replicas falls.
Two field managers share the Deployment: the scaler sets the number of replicas and the strategy of
rollouts, and everything else is applied without them. See ADR 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from longshore.contract.names import worker_name
from longshore_operator.app.ports.workloads import Placed, WantedWorkers
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.kubernetes.containers import Warned
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.overlay import contains
from longshore_operator.core.kubernetes.owner import FIELD_MANAGER, SCALER, Owner
from longshore_operator.core.kubernetes.ownership import reclaimed
from longshore_operator.core.kubernetes.pods import CHEAPEST, DELETION_COST, Pod
from longshore_operator.core.kubernetes.rollout import Rollout, rollout, rollout_in
from longshore_operator.core.kubernetes.workload import (
    NOT_EVICTABLE,
    UNSAID,
    budget_manifest,
    deployment_manifest,
    standing,
)
from longshore_operator.core.scaling.sight import Asked
from longshore_operator.errors import Invalid


class Deployments(Protocol):
    """The calls of the Kubernetes API that workloads need. All raise Transient or Invalid."""

    async def scale(
        self, *, namespace: str, name: str, uid: str, replicas: int, rollout: Rollout
    ) -> int:
        """Set `replicas` and `strategy` of exactly this Deployment, own these fields from then on,
        and return its generation."""
        ...

    async def rescale(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        before: int,
        to: int,
        rollout: Rollout,
        most_pods: int | None = None,
    ) -> int:
        """Do the same, but only if there are `before` replicas and at most `most_pods` pods, and
        the Deployment does not change meanwhile."""
        ...

    async def has_pod(self, *, namespace: str, name: str, uid: str) -> bool:
        """Return whether exactly this pod exists."""
        ...

    async def warnings(self, *, namespace: str, uid: str) -> list[Warned]:
        """Return the warnings about the pod with this uid."""
        ...

    async def retry_pods(self, *, namespace: str, name: str, at: str) -> None:
        """Have Kubernetes create a Deployment's missing pods now, rather than after its own pause.

        `at` is any text that was not passed before.
        """
        ...

    async def annotate_pod(
        self, *, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> None:
        """Set annotations of exactly this pod; None removes one. Raises Transient if the pod no
        longer exists."""
        ...

    async def disruption_budget(self, *, namespace: str, name: str) -> Mapping[str, Any] | None: ...

    async def apply_disruption_budget(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply a PodDisruptionBudget, and return the result."""
        ...

    async def deployment(self, *, namespace: str, name: str) -> Mapping[str, Any] | None: ...

    async def apply_deployment(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply a Deployment, and return the result. A body without `replicas` and `strategy`
        leaves them to the scaler."""
        ...

    async def reclaim_deployment(
        self, live: Mapping[str, Any], *, managed_fields: Sequence[Mapping[str, Any]]
    ) -> None:
        """Replace the managed fields of a Deployment, if it is still the same as `live`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesWorkloads:
    """Lists what the watches show, and writes Deployments, PodDisruptionBudgets and pods."""

    world: World
    cluster: Deployments

    def workload(self, key: Key) -> DeploymentObject | None:
        """Return the Deployment, but not that of an earlier TaskQueue of the same name."""
        return self.world.deployment(key)

    def workers(self, key: Key) -> tuple[Pod, ...]:
        """Return the pods, by name, without those that have ended for good."""
        return self.world.pods(key)

    def remains(self, key: Key) -> tuple[Pod, ...]:
        """Return the pods that have ended for good because their nodes refused or evicted them."""
        return self.world.remains(key)

    async def ensure(self, owner: Owner, wanted: WantedWorkers) -> Placed:
        """Create or change the Deployment according to the spec. The number of its pods, and how a
        rollout replaces them, are left to the scaler."""
        body = deployment_manifest(
            owner,
            spec=wanted.spec,
            timeouts=wanted.timeouts,
            heartbeat=wanted.heartbeat,
            broker=str(wanted.address),
            marks=wanted.credentials.annotations() if wanted.credentials else {},
        )
        name, ceiling = body["metadata"]["name"], wanted.spec.scaling.max
        live = await self.cluster.deployment(namespace=owner.namespace, name=name)
        if live is None:
            # Without `replicas`, Kubernetes would start one worker before the scaler decides.
            own = {"replicas": 0, "strategy": rollout(0, ceiling=ceiling).strategy()}
            after = await self.cluster.apply_deployment({**body, "spec": {**body["spec"], **own}})
            return Placed(name=_deployment(name), before=None, after=standing(after["spec"]))
        if not owner.owns(live["metadata"]):
            raise _not_ours("Deployment", name, owner=owner)
        fields = live["metadata"].get("managedFields") or ()
        if others := reclaimed(fields, ours=FIELD_MANAGER, allowed=[SCALER]):
            await self.cluster.reclaim_deployment(live, managed_fields=others)
        said = {**live, "spec": {**UNSAID, **live["spec"]}}
        is_as_wanted = contains(said, body) and not others
        replicas = live["spec"].get("replicas", 1)
        within, so_far = rollout(replicas, ceiling=ceiling), rollout_in(live["spec"])
        # The scaler must own the number before anything is applied without it, otherwise the number
        # would fall back to one. And an apply may begin a rollout before the scaler has seen a
        # lower `max`.
        is_lax = so_far is None or so_far.surge > within.surge
        if is_lax or not (is_as_wanted or _is_replicas_owner(live, manager=SCALER)):
            await self.cluster.rescale(
                namespace=owner.namespace,
                name=name,
                uid=live["metadata"].get("uid", ""),
                before=replicas,
                to=replicas,
                rollout=within,
            )
        after = live if is_as_wanted else await self.cluster.apply_deployment(body)
        return Placed(
            name=_deployment(name), before=standing(live["spec"]), after=standing(after["spec"])
        )

    async def bound_evictions(self, owner: Owner) -> Placed:
        """Create or change the PodDisruptionBudget."""
        wanted = budget_manifest(owner)
        name = wanted["metadata"]["name"]
        live = await self.cluster.disruption_budget(namespace=owner.namespace, name=name)
        if live is not None and not owner.owns(live["metadata"]):
            raise _not_ours("PodDisruptionBudget", name, owner=owner)
        if live is None or not contains(live, wanted):
            after = await self.cluster.apply_disruption_budget(wanted)
        else:
            after = live
        return Placed(
            name=_budget(name),
            before=standing(live["spec"]) if live else None,
            after=standing(after["spec"]),
        )

    def standing(self, key: Key) -> Mapping[str, str]:
        """Return digests of both objects, as the watches show them."""
        name, deployment = worker_name(key[1]), self.world.deployment(key)
        shown = {
            _deployment(name): deployment.standing if deployment else None,
            _budget(name): self.world.budget(key),
        }
        return {what: said for what, said in shown.items() if said is not None}

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
        """Set `replicas`, and at the same time the strategy with which the next rollout keeps
        within `ceiling`."""
        wanted = rollout(to, ceiling=ceiling)
        if before is None:
            generation = await self.cluster.scale(
                namespace=key[0],
                name=worker_name(key[1]),
                uid=workload.uid,
                replicas=to,
                rollout=wanted,
            )
        else:
            generation = await self.cluster.rescale(
                namespace=key[0],
                name=worker_name(key[1]),
                uid=workload.uid,
                before=before,
                to=to,
                rollout=wanted,
                most_pods=most_workers,
            )
        return Asked(replicas=to, rollout=wanted, generation=generation, uid=workload.uid)

    async def retire(self, key: Key, worker: Pod) -> None:
        """Mark the worker's pod as the cheapest to delete."""
        await self._annotate(key, worker, {DELETION_COST: CHEAPEST})

    async def spare(self, key: Key, worker: Pod) -> None:
        """Remove this mark."""
        await self._annotate(key, worker, {DELETION_COST: None})

    async def protect(self, key: Key, worker: Pod) -> None:
        """Forbid node autoscalers to evict the worker's pod."""
        await self._annotate(key, worker, NOT_EVICTABLE)

    async def unprotect(self, key: Key, worker: Pod) -> None:
        """Allow node autoscalers to evict the worker's pod."""
        await self._annotate(key, worker, dict.fromkeys(NOT_EVICTABLE))

    async def _annotate(self, key: Key, worker: Pod, annotations: Mapping[str, str | None]) -> None:
        await self.cluster.annotate_pod(
            namespace=key[0], name=worker.name, uid=worker.uid, annotations=annotations
        )

    async def is_there(self, key: Key, worker: Pod) -> bool:
        """Return whether exactly this pod exists in Kubernetes, whatever the watches show."""
        return await self.cluster.has_pod(namespace=key[0], name=worker.name, uid=worker.uid)

    async def warnings(self, key: Key, worker: Pod) -> list[Warned]:
        """Return the warnings about the pod."""
        return await self.cluster.warnings(namespace=key[0], uid=worker.uid)

    async def retry(self, key: Key, *, at: str) -> None:
        """Have Kubernetes create the Deployment's missing pods now."""
        await self.cluster.retry_pods(namespace=key[0], name=worker_name(key[1]), at=at)


def _deployment(name: str) -> str:
    return f"Deployment {name}"


def _budget(name: str) -> str:
    return f"PodDisruptionBudget {name}"


def _not_ours(kind: str, name: str, *, owner: Owner) -> Invalid:
    return Invalid(
        f"there is a {kind} {owner.namespace}/{name} already that Longshore has not made; "
        "rename it, or the TaskQueue",
        reason=f"{kind}NotOurs",
    )


def _is_replicas_owner(live: Mapping[str, Any], *, manager: str) -> bool:
    return any(
        entry.get("manager") == manager
        and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in live["metadata"].get("managedFields", ())
    )
