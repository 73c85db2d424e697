"""Brings one TaskQueue's spec to RabbitMQ and Kubernetes: observe, plan, write what is missing."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from longshore.contract.names import (
    AMQP_CA_ENV,
    AMQP_URL_ENV,
    QUEUE_ENV,
    producer_name,
    worker_name,
)
from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.app.broker import Session
from longshore_operator.app.cluster import Cluster
from longshore_operator.core.credentials import password_in
from longshore_operator.core.inventory import Inventory
from longshore_operator.core.overlay import contains
from longshore_operator.core.permissions import ROLES, Role, user
from longshore_operator.core.rollout import rollout, rollout_in
from longshore_operator.core.topology import Topology
from longshore_operator.core.workload import (
    ROTATION_ANNOTATION,
    Owner,
    deployment,
    disruption_budget,
)
from longshore_operator.errors import Invalid

OPERATOR = "longshore"
"""Field manager of all that the operator applies, but what is the scaler's."""

SCALER = "longshore-scaler"
"""Field manager of a Deployment's `replicas` and `strategy`."""

_SECRET_NAMES: Mapping[Role, Callable[[str], str]] = {
    "worker": worker_name,
    "producer": producer_name,
}


async def declare(topology: Topology, *, session: Session) -> Topology:
    """Make RabbitMQ's objects what `topology` says; what was written, nothing where they are."""
    inventory = await session.inventory()
    missing = inventory.missing(topology)
    if inventory.is_new(missing) and await _is_there(missing, session=session):
        session.doubt()
        inventory = await session.inventory()
        missing = inventory.missing(topology)
    if missing == Topology():
        return missing
    if foreign := inventory.foreign_queues(missing):
        raise Invalid(
            f"{'; '.join(foreign)} was made by somebody else and is left alone; delete or rename "
            "it, or take it over by spec.queue.name of a new TaskQueue",
            reason="QueueDiffers",
        )
    try:
        if inventory.is_new(missing):
            await session.management.create(missing)
        else:
            await session.management.apply(missing)
    except BaseException:
        session.doubt()
        raise
    session.note(partial(Inventory.add, written=missing))
    return missing


async def _is_there(wanted: Topology, *, session: Session) -> bool:
    """Whether a queue is there although what was read in bulk, a moment ago, does not have it.

    An import of definitions would say nothing of its other arguments, and leave it as it is.
    """
    jobs = await asyncio.gather(
        *(session.management.jobs_in(queue.name) for queue in wanted.queues)
    )
    return any(number is not None for number in jobs)


async def refuse_foreign_policies(
    topology: Topology, *, session: Session, known: Topology | None
) -> None:
    """Raises Invalid where the name of one of our policies is that of somebody else's.

    `known` was declared by us before, so that what differs there now is a change, and repaired.
    """
    ours = {policy.name for policy in known.policies} if known else set()
    taken = [
        name for name in (await session.inventory()).foreign_policies(topology) if name not in ours
    ]
    if taken:
        raise Invalid(
            f"policy {taken[0]!r} is there already, for other queues: somebody else uses the name; "
            "rename that policy, Longshore does not overwrite it",
            reason="PolicyNameTaken",
        )


async def admit(
    owner: Owner,
    *,
    session: Session,
    cluster: Cluster,
    new_password: Callable[[], str],
    source: str | None = None,
    rotation: str = "",
) -> list[str]:
    """Give the TaskQueue its worker and producer users, and their credentials as Secrets.

    A password is made once; it stays as long as the Secret does, and as `rotation`, which the
    Secret remembers, is the same. Returns the users that were written.
    """
    written = await asyncio.gather(
        *(
            _admit(
                role,
                owner,
                session=session,
                cluster=cluster,
                new_password=new_password,
                source=source,
                rotation=rotation,
            )
            for role in ROLES
        )
    )
    return [name for name in written if name]


async def _admit(
    role: Role,
    owner: Owner,
    *,
    session: Session,
    cluster: Cluster,
    new_password: Callable[[], str],
    source: str | None,
    rotation: str,
) -> str | None:
    """The user of one role; its name if it was written."""
    name = _SECRET_NAMES[role](owner.name)
    found = await cluster.secret(namespace=owner.namespace, name=name)
    if found and not owner.owns(found.metadata):
        raise _not_ours("Secret", name, owner=owner)
    secret = found.data if found else {}
    annotations = (found.metadata.get("annotations") or {}) if found else {}
    is_due = bool(rotation) and annotations.get(ROTATION_ANNOTATION) != rotation
    known = None if is_due else password_in(secret.get(AMQP_URL_ENV, ""))
    password = known or new_password()
    wanted = user(vhost=session.address.vhost, queue=owner.queue, role=role, source=source)
    inventory = await session.inventory()
    hashed = None
    if known is None and wanted.name not in inventory.password_hashes:
        hashed = await session.management.create_user(wanted, password=password)
    elif not inventory.has_user(wanted, password=password):
        hashed = await session.management.put_user(wanted, password=password)
    if hashed is not None:
        session.note(partial(Inventory.add_user, user=wanted, password_hash=hashed))
    # The Secret follows its user: a pod that reads it can connect.
    data = {
        AMQP_URL_ENV: session.address.amqp_url(username=wanted.name, password=password),
        QUEUE_ENV: owner.queue,
    }
    if session.address.authority:
        data[AMQP_CA_ENV] = session.address.authority
    if is_due or not contains(secret, data):
        metadata = owner.metadata(name)
        if rotation:
            metadata["annotations"] = {ROTATION_ANNOTATION: rotation}
        await cluster.apply_secret(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "Opaque",
                "stringData": data,
            }
        )
    return wanted.name if hashed is not None else None


async def deploy(
    owner: Owner,
    *,
    spec: TaskQueueSpec,
    timeouts: Timeouts,
    session: Session,
    cluster: Cluster,
    rotation: str = "",
) -> None:
    """Make the workers' Deployment what the spec says, and leave their number, and how a rollout
    replaces them, to the scaler."""
    wanted = deployment(
        owner,
        spec=spec,
        timeouts=timeouts,
        heartbeat=session.spec.heartbeat,
        broker=str(session.address),
        rotation=rotation,
    )
    name, ceiling = wanted["metadata"]["name"], spec.scaling.max
    live = await cluster.deployment(namespace=owner.namespace, name=name)
    if live is None:
        # Without `replicas` Kubernetes would start one worker before the scaler says none.
        own = {"replicas": 0, "strategy": rollout(0, ceiling=ceiling).strategy()}
        await cluster.apply_deployment({**wanted, "spec": {**wanted["spec"], **own}})
        return
    if not owner.owns(live["metadata"]):
        raise _not_ours("Deployment", name, owner=owner)
    is_as_wanted = contains(live, wanted)
    replicas = live["spec"].get("replicas", 1)
    within, so_far = rollout(replicas, ceiling=ceiling), rollout_in(live["spec"])
    # The number becomes the scaler's before anything is applied without it: it would fall back to
    # one. And what is applied may begin a rollout before the scaler has seen a lower `max`.
    is_lax = so_far is None or so_far.surge > within.surge
    if is_lax or not (is_as_wanted or _is_replicas_owner(live, manager=SCALER)):
        await cluster.rescale(
            namespace=owner.namespace, name=name, before=replicas, to=replicas, rollout=within
        )
    if not is_as_wanted:
        await cluster.apply_deployment(wanted)


async def protect(owner: Owner, *, cluster: Cluster) -> None:
    """Bound how many workers may be evicted at a time."""
    wanted = disruption_budget(owner)
    name = wanted["metadata"]["name"]
    live = await cluster.disruption_budget(namespace=owner.namespace, name=name)
    if live is not None and not owner.owns(live["metadata"]):
        raise _not_ours("PodDisruptionBudget", name, owner=owner)
    if live is None or not contains(live, wanted):
        await cluster.apply_disruption_budget(wanted)


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
