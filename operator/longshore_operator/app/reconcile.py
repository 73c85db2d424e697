"""Brings one TaskQueue's spec to RabbitMQ and Kubernetes: observe, plan, write what is missing."""

from collections.abc import Callable, Mapping
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
from longshore_operator.core.overlay import contains
from longshore_operator.core.permissions import ROLES, Role, user
from longshore_operator.core.topology import Topology
from longshore_operator.core.workload import ROTATION_ANNOTATION, Owner, deployment
from longshore_operator.errors import Invalid

OPERATOR = "longshore"
"""Field manager of all that the operator applies, but replicas."""

SCALER = "longshore-scaler"
"""Field manager of replicas."""

_SECRET_NAMES: Mapping[Role, Callable[[str], str]] = {
    "worker": worker_name,
    "producer": producer_name,
}


async def declare(topology: Topology, *, session: Session) -> Topology:
    """Make RabbitMQ's objects what `topology` says; what was written, nothing where they are."""
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
        await session.management.apply(missing)
    except BaseException:
        session.doubt()
        raise
    inventory.add(missing)
    return missing


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
    inventory = await session.inventory()
    written = []
    for role in ROLES:
        name = _SECRET_NAMES[role](owner.name)
        found = await cluster.secret(namespace=owner.namespace, name=name)
        if found and not owner.owns(found.metadata):
            raise _not_ours("Secret", name, owner=owner)
        secret = found.data if found else {}
        rotated = (
            (found.metadata.get("annotations") or {}).get(ROTATION_ANNOTATION) if found else None
        )
        password = password_in(secret.get(AMQP_URL_ENV, ""))
        if password is None or (rotation and rotated != rotation):
            password = new_password()
        wanted = user(vhost=session.address.vhost, queue=owner.queue, role=role, source=source)
        if not inventory.has_user(wanted, password=password):
            try:
                await session.management.put_user(wanted, password=password)
            except BaseException:
                session.doubt()
                raise
            # Not read anew: with a thousand TaskQueues each would read all the others.
            inventory.add_user(wanted, password=password)
            written.append(wanted.name)
        # The Secret follows its user: a pod that reads it can connect.
        data = {
            AMQP_URL_ENV: session.address.amqp_url(username=wanted.name, password=password),
            QUEUE_ENV: owner.queue,
        }
        if session.address.authority:
            data[AMQP_CA_ENV] = session.address.authority
        if not contains(secret, data) or (rotation and rotated != rotation):
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
    return written


async def deploy(
    owner: Owner,
    *,
    spec: TaskQueueSpec,
    timeouts: Timeouts,
    session: Session,
    cluster: Cluster,
    rotation: str = "",
) -> None:
    """Make the workers' Deployment what the spec says, and leave their number to the scaler."""
    wanted = deployment(
        owner,
        spec=spec,
        timeouts=timeouts,
        heartbeat=session.spec.heartbeat,
        broker=str(session.address),
        rotation=rotation,
    )
    name = wanted["metadata"]["name"]
    live = await cluster.deployment(namespace=owner.namespace, name=name)
    if live is None:
        # Without `replicas` Kubernetes would start one worker before the scaler says none.
        await cluster.apply_deployment({**wanted, "spec": {**wanted["spec"], "replicas": 0}})
        await cluster.scale(namespace=owner.namespace, name=name, replicas=0)
        return
    if not owner.owns(live["metadata"]):
        raise _not_ours("Deployment", name, owner=owner)
    if not _is_replicas_owner(live, manager=SCALER):
        # Cut short before: applied without `replicas` now, their number would fall back to one.
        await cluster.scale(
            namespace=owner.namespace, name=name, replicas=live["spec"].get("replicas", 1)
        )
    if not contains(live, wanted):
        await cluster.apply_deployment(wanted)


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
