"""The Kubernetes API as plain JSON, without typed models, since only a few fields matter."""

import base64
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from longshore.logs import Log
from longshore_operator.adapters.kubernetes.calls import (
    APPLY,
    JSON_PATCH,
    MERGE,
    KubernetesCalls,
    NotFound,
)
from longshore_operator.adapters.kubernetes.lists import items_of, uids_of
from longshore_operator.api.v1alpha1 import API_VERSION
from longshore_operator.app.ports.kubernetes import Secret
from longshore_operator.app.watched.objects import TaskQueueObject, task_queue
from longshore_operator.app.watched.world import Kind
from longshore_operator.core.kubernetes.containers import Warned, warned
from longshore_operator.core.kubernetes.owner import FIELD_MANAGER, SCALER
from longshore_operator.core.kubernetes.rollout import Rollout
from longshore_operator.core.kubernetes.workload import RETRIED_ANNOTATION
from longshore_operator.errors import Invalid, OperatorError, Transient

log = Log(__name__)


class Cluster:
    """Everything that the operator reads and writes in Kubernetes. `now` returns RFC 3339."""

    def __init__(self, calls: KubernetesCalls, *, now: Callable[[], str]) -> None:
        self._calls = calls
        self._now = now

    @classmethod
    async def connect(cls, *, now: Callable[[], str]) -> "Cluster":
        """Connect with the pod's service account or, outside a cluster, with the kubeconfig."""
        return cls(await KubernetesCalls.connect(), now=now)

    async def close(self) -> None:
        """Close its connections."""
        await self._calls.close()

    async def task_queue(self, *, namespace: str, name: str) -> TaskQueueObject | None:
        """Return the current TaskQueue; None if there is none."""
        found = await self._calls.read(
            f"/apis/{API_VERSION}/namespaces/{namespace}/taskqueues/{name}"
        )
        return task_queue(found) if found else None

    async def secret(self, *, namespace: str, name: str) -> Secret | None:
        """Return a Secret; None if there is none."""
        found = await self._calls.read(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if found is None:
            return None
        data = {
            key: base64.b64decode(value).decode(errors="replace")
            for key, value in (found.get("data") or {}).items()
        }
        return Secret(data=data, metadata=found["metadata"])

    async def apply_secret(self, secret: Secret, *, absent: Sequence[str]) -> None:
        """Apply a Secret; `absent` are keys that it must not have."""
        body = _secret(secret)
        path = _path(body, "/api/v1", "secrets")
        after = await self._calls.apply(path, body, manager=FIELD_MANAGER)
        # An apply removes only what an earlier apply of ours has written.
        if left := (after.get("data") or {}).keys() & set(absent):
            patch = {"data": dict.fromkeys(left)}
            query = [("fieldManager", FIELD_MANAGER)]
            await self._calls.send("PATCH", path, body=patch, content_type=MERGE, query=query)

    async def rehearse_secret(self, secret: Secret) -> None:
        """Raise what an apply of this Secret would raise, without writing anything."""
        body = _secret(secret)
        path = _path(body, "/api/v1", "secrets")
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), ("dryRun", "All")]
        await self._calls.send("PATCH", path, body=body, content_type=APPLY, query=query)

    async def disruption_budget(self, *, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return a PodDisruptionBudget; None if there is none."""
        path = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}"
        return await self._calls.read(path)

    async def apply_disruption_budget(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply a PodDisruptionBudget, and return the result."""
        path = _path(body, "/apis/policy/v1", "poddisruptionbudgets")
        return await self._calls.apply(path, body, manager=FIELD_MANAGER)

    async def deployment(self, *, namespace: str, name: str) -> Mapping[str, Any] | None:
        """Return a Deployment; None if there is none."""
        return await self._calls.read(_deployment(namespace, name))

    async def apply_deployment(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply a Deployment as the operator's field manager, and return the result."""
        path = _path(body, "/apis/apps/v1", "deployments")
        return await self._calls.apply(path, body, manager=FIELD_MANAGER)

    async def reclaim_deployment(
        self, live: Mapping[str, Any], *, managed_fields: Sequence[Mapping[str, Any]]
    ) -> None:
        """Replace the managed fields of a Deployment, if it is still the same as `live`."""
        metadata = live["metadata"]
        same = {name: metadata[name] for name in ("uid", "resourceVersion")}
        body = {"metadata": {**same, "managedFields": list(managed_fields)}}
        path = _deployment(metadata["namespace"], metadata["name"])
        query = [("fieldManager", FIELD_MANAGER)]
        await self._calls.send("PATCH", path, body=body, content_type=MERGE, query=query)

    async def scale(
        self, *, namespace: str, name: str, uid: str, replicas: int, rollout: Rollout
    ) -> int:
        """Apply `replicas` and `strategy` to exactly this Deployment as the scaler's field manager,
        and return its generation.

        This is not a patch of `/scale`: there, 0 counts as no value, and the field would have no
        owner.
        """
        return await self._scale(namespace, name, uid=uid, replicas=replicas, rollout=rollout)

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
        """Set `replicas` if they are `before`, there are at most `most_pods` pods, and exactly this
        Deployment does not change meanwhile."""
        live = await self._calls.send("GET", _deployment(namespace, name))
        if live["metadata"]["uid"] != uid:
            raise _another(namespace, name)
        if live["spec"].get("replicas", 1) != before:
            text = f"Deployment {namespace}/{name} no longer has {before} replicas"
            raise Transient(text, reason="Conflict")
        pods = (live.get("status") or {}).get("replicas", 0)
        if most_pods is not None and pods > most_pods:
            text = f"Deployment {namespace}/{name} has {pods} pods, more than {most_pods}"
            raise Transient(text, reason="Conflict")
        version = live["metadata"]["resourceVersion"]
        return await self._scale(
            namespace, name, uid=uid, replicas=to, rollout=rollout, resourceVersion=version
        )

    async def _scale(
        self,
        namespace: str,
        name: str,
        *,
        uid: str,
        replicas: int,
        rollout: Rollout,
        **metadata: str,
    ) -> int:
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace, "uid": uid, **metadata},
            # Both each time: an apply removes what it omits.
            "spec": {"replicas": replicas, "strategy": rollout.strategy()},
        }
        try:
            after = await self._calls.apply(_deployment(namespace, name), body, manager=SCALER)
        except Invalid as error:
            if "metadata.uid" in str(error):
                raise _another(namespace, name) from error
            raise
        if (made := after["spec"].get("replicas")) != replicas:
            raise Invalid(
                f"Deployment {namespace}/{name} should have {replicas} replicas, but an admission "
                f"rule of the cluster changed the number to {made}",
                reason="RefusedByKubernetes",
            )
        generation: int = after["metadata"]["generation"]
        return generation

    async def uids(self, kind: Kind, *, namespace: str | None) -> set[str]:
        """Return the uids of all watched objects of a kind, in one namespace or in the cluster."""
        return await uids_of(kind, namespace=namespace, get=partial(self._calls.send, "GET"))

    async def has_pod(self, *, namespace: str, name: str, uid: str) -> bool:
        """Return whether exactly this pod exists."""
        found = await self._calls.read(_pod(namespace, name))
        return found is not None and found["metadata"]["uid"] == uid

    async def warnings(self, *, namespace: str, uid: str) -> list[Warned]:
        """Return the warnings about the pod with this uid."""
        selector = f"involvedObject.uid={uid},type=Warning"
        found = await self._calls.send(
            "GET",
            f"/api/v1/namespaces/{namespace}/events",
            query=[("fieldSelector", selector), ("limit", "50")],
        )
        return [each for event in items_of(found) if (each := warned(event))]

    async def retry_pods(self, *, namespace: str, name: str, at: str) -> None:
        """Change an annotation of a Deployment, which Kubernetes copies to its ReplicaSet. This
        ends the pause of up to 17 minutes before Kubernetes would try to create a pod again."""
        await self._calls.send(
            "PATCH",
            _deployment(namespace, name),
            body={"metadata": {"annotations": {RETRIED_ANNOTATION: at}}},
            content_type=MERGE,
            query=[("fieldManager", SCALER)],
        )

    async def autoscalers(self, *, namespace: str | None) -> list[Mapping[str, Any]]:
        """Return all HorizontalPodAutoscalers, of one namespace or of the cluster."""
        where = f"/namespaces/{namespace}" if namespace else ""
        path = f"/apis/autoscaling/v2{where}/horizontalpodautoscalers"
        return items_of(await self._calls.send("GET", path))

    async def annotate_pod(
        self, *, namespace: str, name: str, uid: str, annotations: Mapping[str, str | None]
    ) -> None:
        """Set annotations of exactly this pod; None removes one."""
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
        await self._calls.send(
            "PATCH",
            _pod(namespace, name),
            body=body,
            content_type=MERGE,
            query=[("fieldManager", SCALER)],
        )

    async def put_task_queue_status(
        self, *, namespace: str, name: str, uid: str, status: Mapping[str, Any]
    ) -> bool:
        """Replace the status of exactly this TaskQueue, and return whether it still exists. A newer
        one of the same name is left alone."""
        path = f"/apis/{API_VERSION}/namespaces/{namespace}/taskqueues/{name}"
        # A uid in a merge patch of a custom resource's status is ignored (Kubernetes 1.36).
        body: list[Mapping[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        query = [("fieldManager", FIELD_MANAGER)]
        try:
            await self._calls.send(
                "PATCH", f"{path}/status", body=body, content_type=JSON_PATCH, query=query
            )
        except NotFound:
            return False
        except Invalid:
            found = await self._calls.read(path)
            if found is not None and found["metadata"]["uid"] == uid:
                raise
            return False
        return True

    async def patch_broker_status(self, *, name: str, patch: Mapping[str, Any]) -> None:
        """Apply a merge patch to a Broker's status."""
        await self._patch_status(f"/apis/{API_VERSION}/brokers/{name}/status", patch)

    async def event(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        type: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        kind: Literal["TaskQueue", "Broker"] = "TaskQueue",
    ) -> None:
        """Post an Event about a TaskQueue or Broker. Never raises."""
        now = self._now()
        body = {
            "metadata": {"name": _event_name(name), "namespace": namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "name": name,
                "uid": uid,
            }
            | ({"namespace": namespace} if kind == "TaskQueue" else {}),
            "type": type,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": FIELD_MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._calls.send("POST", f"/api/v1/namespaces/{namespace}/events", body=body)
        except OperatorError as error:
            log.info("event-not-posted", error=str(error))

    async def _patch_status(self, path: str, patch: Mapping[str, Any]) -> None:
        try:
            await self._calls.send(
                "PATCH",
                path,
                body={"status": patch},
                content_type=MERGE,
                query=[("fieldManager", FIELD_MANAGER)],
            )
        except NotFound:
            return  # it was deleted meanwhile


def _another(namespace: str, name: str) -> Transient:
    text = f"Deployment {namespace}/{name} was recreated meanwhile"
    return Transient(text, reason="Conflict")


def _event_name(name: str) -> str:
    """Return a name for an Event about `name`, which may already have the maximum length."""
    suffix = f".{uuid.uuid4().hex[:16]}"
    return name[: _LONGEST_NAME - len(suffix)].rstrip("-.") + suffix


_LONGEST_NAME = 253


def _deployment(namespace: str, name: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


def _pod(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def _secret(secret: Secret) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in secret.data.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": secret.metadata,
        "type": "Opaque",
        # Not `stringData`: a key left out of that stays in the Secret (Kubernetes 1.36).
        "data": data,
    }


def _path(body: Mapping[str, Any], root: str, plural: str) -> str:
    metadata = body["metadata"]
    return f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
