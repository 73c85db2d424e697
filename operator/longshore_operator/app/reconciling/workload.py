"""Brings a TaskQueue's workers to Kubernetes: their Deployment and its PodDisruptionBudget."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.ports.kubernetes import Deployments, Events
from longshore_operator.app.reconciling.claims import refuse_gone
from longshore_operator.app.reconciling.events import tell_drift
from longshore_operator.app.reconciling.patrol import RESYNC
from longshore_operator.app.reconciling.state import Reconciliation
from longshore_operator.app.sessions.session import Session
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.passwords import Credentials
from longshore_operator.core.kubernetes.overlay import contains
from longshore_operator.core.kubernetes.owner import FIELD_MANAGER, Owner
from longshore_operator.core.kubernetes.ownership import reclaimed
from longshore_operator.core.kubernetes.rollout import rollout, rollout_in
from longshore_operator.core.kubernetes.workload import (
    UNSAID,
    budget_manifest,
    deployment_manifest,
    standing,
    timeouts,
)
from longshore_operator.errors import Invalid, OperatorError

SCALER = "longshore-scaler"
"""Field manager of a Deployment's `replicas` and `strategy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An object of Kubernetes that is as it should be."""

    name: str
    """Its kind and name."""

    before: str | None
    """What it said when it was looked at, as a digest; None where there was none."""

    after: str
    """What it says now."""

    def is_repaired(self, known: str | None) -> bool:
        """Whether it had said `known` before, and something else when it was looked at."""
        return known is not None and self.before not in (known, self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadReconciler:
    """The workload part of reconciling. `clock` is monotonic."""

    world: World
    cluster: Deployments
    events: Events
    clock: Callable[[], float]

    def has_workers(self, owner: Owner) -> bool:
        """Whether workers are asked for."""
        deployment = self.world.deployment((owner.namespace, owner.name))
        return deployment is not None and deployment.replicas > 0

    async def reconcile(
        self,
        task_queue: TaskQueueObject,
        *,
        state: Reconciliation,
        session: Session,
        is_repair: bool,
    ) -> None:
        """Make the workers what the spec says, once `QueueReconciler` has done its part; leave
        their number to the scaler. Raises Transient or Invalid.

        `is_repair` is what the other part returned: then what others had changed is reported.
        """
        spec, owner = task_queue.spec, task_queue.owner
        if spec is None:
            raise Invalid(task_queue.invalid, reason="InvalidSpec")
        repaired = []
        refuse_gone(owner, world=self.world)
        try:
            placed = await deploy(
                owner,
                spec=spec,
                timeouts=timeouts(spec, features=session.features),
                session=session,
                cluster=self.cluster,
                credentials=state.users.known.get("worker"),
            )
            if is_repair and placed.is_repaired(state.deployed):
                repaired.append(placed.name)
            state.deployed = placed.after
            # A thousand queues at rest need no budgets, which Kubernetes would go on counting.
            if state.is_protected or self.has_workers(owner):
                placed = await protect(owner, cluster=self.cluster)
                if is_repair and placed.is_repaired(state.budgeted):
                    repaired.append(placed.name)
                state.is_protected, state.budgeted = True, placed.after
        except OperatorError as error:
            if error.reason != "Conflict":  # the next try sees what somebody wrote just now
                state.worker_trouble = error.trouble
            raise
        state.worker_trouble = None
        if repaired:
            now = self.clock()
            state.repairs = 1 if now - state.repaired_at > 2 * RESYNC else state.repairs + 1
            state.repaired_at = now
            await tell_drift(owner, repaired, events=self.events)


async def deploy(
    owner: Owner,
    *,
    spec: TaskQueueSpec,
    timeouts: Timeouts,
    session: Session,
    cluster: Deployments,
    credentials: Credentials | None = None,
) -> Placed:
    """Make the workers' Deployment what the spec says, and leave their number, and how a rollout
    replaces them, to the scaler. `credentials` are what its pods connect with."""
    wanted = deployment_manifest(
        owner,
        spec=spec,
        timeouts=timeouts,
        heartbeat=session.spec.heartbeat,
        broker=str(session.address),
        marks=credentials.annotations() if credentials else {},
    )
    name, ceiling = wanted["metadata"]["name"], spec.scaling.max
    live = await cluster.deployment(namespace=owner.namespace, name=name)
    if live is None:
        # Without `replicas` Kubernetes would start one worker before the scaler says none.
        own = {"replicas": 0, "strategy": rollout(0, ceiling=ceiling).strategy()}
        after = await cluster.apply_deployment({**wanted, "spec": {**wanted["spec"], **own}})
        return Placed(name=f"Deployment {name}", before=None, after=standing(after["spec"]))
    if not owner.owns(live["metadata"]):
        raise _not_ours("Deployment", name, owner=owner)
    fields = live["metadata"].get("managedFields") or ()
    if others := reclaimed(fields, ours=FIELD_MANAGER, allowed=[SCALER]):
        await cluster.reclaim_deployment(live, managed_fields=others)
    said = {**live, "spec": {**UNSAID, **live["spec"]}}
    is_as_wanted = contains(said, wanted) and not others
    replicas = live["spec"].get("replicas", 1)
    within, so_far = rollout(replicas, ceiling=ceiling), rollout_in(live["spec"])
    # The number becomes the scaler's before anything is applied without it: it would fall back to
    # one. And what is applied may begin a rollout before the scaler has seen a lower `max`.
    is_lax = so_far is None or so_far.surge > within.surge
    if is_lax or not (is_as_wanted or _is_replicas_owner(live, manager=SCALER)):
        await cluster.rescale(
            namespace=owner.namespace,
            name=name,
            uid=live["metadata"].get("uid", ""),
            before=replicas,
            to=replicas,
            rollout=within,
        )
    after = live if is_as_wanted else await cluster.apply_deployment(wanted)
    return Placed(
        name=f"Deployment {name}", before=standing(live["spec"]), after=standing(after["spec"])
    )


async def protect(owner: Owner, *, cluster: Deployments) -> Placed:
    """Bound how many workers may be evicted at a time."""
    wanted = budget_manifest(owner)
    name = wanted["metadata"]["name"]
    live = await cluster.disruption_budget(namespace=owner.namespace, name=name)
    if live is not None and not owner.owns(live["metadata"]):
        raise _not_ours("PodDisruptionBudget", name, owner=owner)
    if live is None or not contains(live, wanted):
        after = await cluster.apply_disruption_budget(wanted)
    else:
        after = live
    return Placed(
        name=f"PodDisruptionBudget {name}",
        before=standing(live["spec"]) if live else None,
        after=standing(after["spec"]),
    )


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
