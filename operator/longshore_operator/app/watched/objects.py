"""Custom resources and Deployments as the operator keeps them in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from longshore_operator.api.v1alpha1 import (
    GROUP,
    BrokerReference,
    BrokerSpec,
    BrokerStatus,
    Budget,
    DeletionPolicy,
    TaskQueueSpec,
    TaskQueueStatus,
)
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.obstacles import pods_refused, rollout_stuck
from longshore_operator.core.kubernetes.owner import Owner, owner_in
from longshore_operator.core.kubernetes.rollout import rollout_in
from longshore_operator.core.kubernetes.workload import standing

ROTATE_ANNOTATION = f"{GROUP}/rotate-credentials"

TAKE_ANNOTATION = f"{GROUP}/take-vhost-from"
"""Annotation of a Broker: the name of the owner from which its vhost may be taken over."""

FINALIZER = f"{GROUP}/finalizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionSpec:
    """The part of a spec that a deletion needs. It is read field by field, so that a TaskQueue
    whose spec is invalid elsewhere can still be cleaned up."""

    broker: str
    policy: DeletionPolicy
    queue_name: str | None
    """The queue that it has taken over, or is to take over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueueObject:
    """A TaskQueue in the cluster."""

    owner: Owner
    generation: int
    is_finalized: bool
    """Whether it has our finalizer; nothing is created for a TaskQueue without it."""

    is_deleting: bool
    spec: TaskQueueSpec | None
    invalid: str
    """Why the spec cannot be read; empty if it can."""

    ending: DeletionSpec
    budget: Budget | None
    """The budget that its workers draw on; read separately, like `ending`."""

    status: TaskQueueStatus
    raw_status: Mapping[str, Any] = field(repr=False)
    created: str = ""
    """When it was created, RFC 3339."""

    rotation: str = ""
    """Value of `longshore.dev/rotate-credentials`; a new value requests new passwords."""

    @property
    def uid(self) -> str:
        """Its uid."""
        return self.owner.uid

    @property
    def source(self) -> str:
        """The queue in RabbitMQ that holds its jobs: its own, or one that it has taken over."""
        return self.ending.queue_name or self.owner.queue

    @property
    def adopts(self) -> bool:
        """Whether its spec takes over a queue that existed before."""
        return self.spec is not None and self.spec.queue.name is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceObject:
    """A namespace of the cluster."""

    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerObject:
    """A Broker in the cluster."""

    name: str
    uid: str
    generation: int
    spec: BrokerSpec
    status: BrokerStatus
    raw_status: Mapping[str, Any] = field(repr=False)
    created: str = ""
    takes_from: str = ""
    """The owner from which it may take over its vhost; empty if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetObject:
    """The PodDisruptionBudget of a TaskQueue's workers."""

    uid: str
    standing: str
    """A digest of its content (`core.workload.standing`)."""

    owner: str = ""
    created: str = ""


def task_queue(body: Mapping[str, Any]) -> TaskQueueObject:
    """Return the TaskQueue in an object of the Kubernetes API.

    A spec that the API server accepted but these models reject (an older CRD, a newer operator)
    must not stop the operator.
    """
    metadata = body["metadata"]
    raw_spec = _plain(body.get("spec") or {})
    spec, invalid = None, ""
    try:
        spec = TaskQueueSpec.model_validate(raw_spec)
    except ValidationError as error:
        invalid = "; ".join(
            f"spec.{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()
        )
    raw_status = _plain(body.get("status") or {})
    try:
        status = TaskQueueStatus.model_validate(raw_status)
    except ValidationError:
        status = TaskQueueStatus()
    owner = Owner(
        namespace=metadata["namespace"], name=metadata["name"], uid=metadata.get("uid", "")
    )
    return TaskQueueObject(
        owner=owner,
        generation=metadata.get("generation", 0),
        is_finalized=FINALIZER in metadata.get("finalizers", ()),
        is_deleting="deletionTimestamp" in metadata,
        spec=spec,
        invalid=invalid,
        ending=_ending(raw_spec, status=status, owner=owner),
        budget=spec.scaling.budget if spec else _budget(raw_spec),
        status=status,
        raw_status=raw_status,
        created=metadata.get("creationTimestamp") or "",
        rotation=(metadata.get("annotations") or {}).get(ROTATE_ANNOTATION, ""),
    )


def _ending(spec: Mapping[str, Any], *, status: TaskQueueStatus, owner: Owner) -> DeletionSpec:
    """Read the fields for deletion; an unreadable one gets its default, which loses no job."""
    broker, policy = _field(spec, "broker", "name"), spec.get("deletionPolicy")
    known = status.queue if status.queue != owner.queue else None
    return DeletionSpec(
        broker=broker or BrokerReference().name,
        policy=DeletionPolicy(policy)
        if policy in tuple(DeletionPolicy)
        else DeletionPolicy.RETAIN_IF_NOT_EMPTY,
        queue_name=_field(spec, "queue", "name") or known,
    )


def _budget(spec: Mapping[str, Any]) -> Budget | None:
    """Read the group, by which the workers are counted; the weight is ignored."""
    scaling = spec.get("scaling")
    group = _field(scaling, "budget", "group") if isinstance(scaling, Mapping) else None
    try:
        return None if group is None else Budget(group=group)
    except ValidationError:
        return None


def _field(spec: Mapping[str, Any], part: str, name: str) -> str | None:
    inner = spec.get(part)
    value = inner.get(name) if isinstance(inner, Mapping) else None
    return value if isinstance(value, str) and value else None


def broker(body: Mapping[str, Any]) -> BrokerObject | None:
    """Return the Broker in an object of the Kubernetes API; None if its spec cannot be read. A
    status that cannot be read counts as empty, because the operator writes it anew."""
    metadata, raw_status = body["metadata"], _plain(body.get("status") or {})
    try:
        status = BrokerStatus.model_validate(raw_status)
    except ValidationError:
        status = BrokerStatus()
    try:
        return BrokerObject(
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            spec=BrokerSpec.model_validate(_plain(body.get("spec", {}))),
            status=status,
            raw_status=raw_status,
            created=metadata.get("creationTimestamp") or "",
            takes_from=(metadata.get("annotations") or {}).get(TAKE_ANNOTATION, ""),
        )
    except ValidationError:
        return None


def deployment(body: Mapping[str, Any]) -> DeploymentObject:
    """Return the Deployment in an object of the Kubernetes API."""
    metadata, status = body["metadata"], body.get("status") or {}
    is_observed = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    return DeploymentObject(
        replicas=body["spec"].get("replicas", 1),
        uid=metadata.get("uid", ""),
        owner=_owner(metadata),
        created=metadata.get("creationTimestamp") or "",
        generation=metadata.get("generation", 0),
        is_rolling=status.get("updatedReplicas", 0) < status.get("replicas", 0) or not is_observed,
        is_observed=is_observed,
        rollout=rollout_in(body["spec"]),
        refused=pods_refused(status),
        stuck=rollout_stuck(status),
        standing=standing(_plain(body["spec"])),
    )


def disruption_budget(body: Mapping[str, Any]) -> BudgetObject:
    """Return the PodDisruptionBudget in an object of the Kubernetes API."""
    metadata = body["metadata"]
    return BudgetObject(
        uid=metadata.get("uid", ""),
        standing=standing(_plain(body.get("spec") or {})),
        owner=_owner(metadata),
        created=metadata.get("creationTimestamp") or "",
    )


def namespace(body: Mapping[str, Any]) -> NamespaceObject:
    """Return the namespace in an object of the Kubernetes API."""
    metadata = body["metadata"]
    return NamespaceObject(
        uid=metadata.get("uid", ""),
        labels=dict(metadata.get("labels") or {}),
        created=metadata.get("creationTimestamp") or "",
    )


def _owner(metadata: Mapping[str, Any]) -> str:
    found = owner_in(metadata)
    return found[1] if found else ""


def _plain(value: Any) -> Any:
    """Copy kopf's views of objects into dicts and lists, which outlive the event."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
