"""Determines which objects belong to a TaskQueue."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from longshore.contract.names import (
    queue_name,
    worker_name,
)
from longshore_operator.api.v1alpha1 import API_VERSION, GROUP

TASK_QUEUE_LABEL = "longshore.dev/task-queue"
"""Label of all objects that belong to a TaskQueue; its value is the TaskQueue's name."""


FIELD_MANAGER = "longshore"
"""Field manager of everything that the operator applies, except the scaler's fields."""

SCALER = "longshore-scaler"
"""Field manager of a Deployment's `replicas` and `strategy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The TaskQueue that an object belongs to, and with which it is removed."""

    namespace: str
    name: str
    uid: str

    @property
    def queue(self) -> str:
        """Name of its job queue."""
        return queue_name(namespace=self.namespace, name=self.name)

    def labels(self) -> dict[str, str]:
        """Return the labels of everything that it owns."""
        return {
            "app.kubernetes.io/name": "longshore-worker",
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/managed-by": "longshore",
            TASK_QUEUE_LABEL: self.name,
        }

    def owns(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether an object with the name of one of the operator's was created for this
        TaskQueue, or for an earlier one of the same name.

        A label proves nothing, because anyone may have copied it. An object without an owner, as
        `kubectl delete --cascade=orphan` leaves behind, belongs to it if the operator has applied
        the object.
        """
        if any(reference.get("controller") for reference in _references(metadata)):
            return (reference := owner_in(metadata)) is not None and reference[0] == self.name
        return any(
            entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
            for entry in metadata.get("managedFields") or ()
        )

    def metadata(self, name: str) -> dict[str, Any]:
        """Return the metadata of an object `name` that it owns."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(),
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "TaskQueue",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        }


def owner_in(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name and the uid of the TaskQueue that controls an object; None if none does."""
    for reference in _references(metadata):
        group = reference.get("apiVersion", "").partition("/")[0]
        if reference.get("controller") and (group, reference.get("kind")) == (GROUP, "TaskQueue"):
            return reference["name"], reference["uid"]
    return None


def worker_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the name of the TaskQueue whose worker a pod with this metadata is; None if it is not
    one. A ReplicaSet of the workers' Deployment must have created the pod."""
    name: str = (metadata.get("labels") or {}).get(TASK_QUEUE_LABEL, "")
    made_by = rf"{re.escape(worker_name(name))}-[a-z0-9]+"
    is_worker = any(
        reference.get("kind") == "ReplicaSet" and re.fullmatch(made_by, reference.get("name", ""))
        for reference in _references(metadata)
    )
    return name if name and is_worker else None


def _references(metadata: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return metadata.get("ownerReferences") or ()
