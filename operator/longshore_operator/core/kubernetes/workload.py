"""The Deployment of a TaskQueue's workers."""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from longshore.contract.config import OnTermination, WorkerConfig
from longshore.contract.features import Features
from longshore.contract.names import (
    POD_NAME_ENV,
    TERMINATION_LOG,
    TERMINATION_LOG_ENV,
    WORKER_CONFIG_ENV,
    worker_name,
)
from longshore.contract.retry import RetryPolicy
from longshore.contract.timing import Timeouts, derive, whole_heartbeat
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.api.v1alpha1.pod_template import CONTAINER
from longshore_operator.core.kubernetes.overlay import merged
from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL, Owner
from longshore_operator.core.kubernetes.promises import broken, container_in
from longshore_operator.errors import Invalid

HASH_ANNOTATION = "longshore.dev/spec-hash"
"""Annotation of the Deployment: SHA-256 of everything that the operator applies to its spec."""

BROKER_ANNOTATION = "longshore.dev/broker"
"""Annotation of worker pods: host, port and vhost that they connect to."""

RETRIED_ANNOTATION = "longshore.dev/pods-retried"
"""Annotation of the Deployment: when the operator last had Kubernetes retry its missing pods."""

ZONE, NODE = "topology.kubernetes.io/zone", "kubernetes.io/hostname"

MAX_DISRUPTED = "10%"
"""Workers that may be evicted at the same time, rounded up. A draining worker counts until its
replacement is ready, not until its last job has ended."""

HTTP_PORT = 9090

START_ROOM = 1
"""Seconds of a pod's termination grace that pass before SIGTERM is sent. Process 1 ignores a signal
for which it has no handler, and Python takes some 20 ms to set one. Without this pause, a worker
whose pod is deleted while it starts would take jobs until its grace ends, and then be killed."""


def timeouts(spec: TaskQueueSpec, *, features: Features) -> Timeouts:
    """Return the timeout chain of a TaskQueue on a RabbitMQ with these features."""
    return derive(
        hard_limit=spec.time_limit.hard,
        soft_limit=spec.time_limit.soft,
        kill_grace=spec.time_limit.kill_grace,
        slots=spec.worker.slots,
        prefetch=None if spec.worker.prefetch == "auto" else spec.worker.prefetch,
        requeue_on_termination=spec.on_termination is OnTermination.REQUEUE,
        features=features,
    )


def worker_config(
    *, queue: str, spec: TaskQueueSpec, timeouts: Timeouts, heartbeat: float
) -> WorkerConfig:
    """Return a worker's configuration."""
    return WorkerConfig(
        queue=queue,
        source=spec.queue.name,
        queue_type=spec.queue.type,
        isolation=spec.worker.isolation,
        handlers=tuple(spec.worker.handlers),
        middleware=tuple(spec.worker.middleware),
        command=tuple(spec.worker.command),
        hard_limit=timeouts.hard_limit,
        soft_limit=timeouts.soft_limit,
        kill_grace=spec.time_limit.kill_grace,
        ack_timeout=timeouts.ack_timeout,
        slots=spec.worker.slots,
        prefetch=spec.worker.prefetch,
        max_jobs_per_child=spec.worker.max_jobs_per_child,
        max_memory_per_child=spec.worker.max_memory_per_child,
        memory_limit_per_job=spec.worker.memory_limit_per_job,
        on_termination=spec.on_termination,
        retry=RetryPolicy(
            max_attempts=spec.retry.max_attempts,
            initial_delay=spec.retry.initial_delay,
            max_delay=spec.retry.max_delay,
            factor=spec.retry.factor,
            jitter=spec.retry.jitter,
            max_age=spec.retry.max_age,
            defer_for=spec.retry.defer_for,
        ),
        heartbeat=float(whole_heartbeat(heartbeat)),
        http_port=HTTP_PORT,
    )


def deployment_manifest(
    owner: Owner,
    *,
    spec: TaskQueueSpec,
    timeouts: Timeouts,
    heartbeat: float,
    broker: str,
    marks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the Deployment, without `replicas` and `strategy`, which the scaler sets.

    `broker` is the address that its workers connect to. `marks` are annotations that change with
    their password. Raises Invalid if the user's pod template would break one of Longshore's
    promises.
    """
    config = worker_config(queue=owner.queue, spec=spec, timeouts=timeouts, heartbeat=heartbeat)
    own = _pod_template(owner, spec=spec, timeouts=timeouts, config=config)
    template = merged(own, spec.worker.pod_template or {})
    if undone := broken(own, template):
        raise Invalid(f"worker.podTemplate: {'; '.join(undone)}", reason="PodTemplateUnfit")
    # The selector must match, whatever the user's template says. A new address creates new pods,
    # because workers that stay on the old broker would get no jobs. So does a new password, because
    # old pods could not connect again.
    annotations = {BROKER_ANNOTATION: broker, **marks}
    container = {"name": CONTAINER, "envFrom": _sources(template, owner)}
    ours = {
        "metadata": {"labels": owner.labels(), "annotations": annotations},
        "spec": {"containers": [container]},
    }
    template = merged(template, ours)
    body = {
        "selector": {"matchLabels": {TASK_QUEUE_LABEL: owner.name}},
        "revisionHistoryLimit": 3,
        # Set although these are Kubernetes' defaults: a paused or slow rollout leaves old workers,
        # and a very long deadline hides one that is stuck.
        "progressDeadlineSeconds": 600,
        **UNSAID,
        "template": template,
    }
    # A field that is removed from a spec leaves no trace in the wanted object, but in its hash.
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    metadata = owner.metadata(worker_name(owner.name)) | {"annotations": {HASH_ANNOTATION: digest}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": body}


UNSAID: Mapping[str, Any] = MappingProxyType({"minReadySeconds": 0, "paused": False})
"""Fields of a Deployment's spec that Kubernetes omits if they have these values."""


def standing(spec: Mapping[str, Any]) -> str:
    """Return a digest of an object's spec, without the scaler's fields."""
    ours = {name: value for name, value in spec.items() if name not in ("replicas", "strategy")}
    return hashlib.sha256(json.dumps(ours, sort_keys=True).encode()).hexdigest()


def budget_manifest(owner: Owner) -> dict[str, Any]:
    """Return the PodDisruptionBudget: how many workers may be evicted at a time, e.g. when nodes
    are drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(worker_name(owner.name)),
        "spec": {
            "maxUnavailable": MAX_DISRUPTED,
            "selector": {"matchLabels": {TASK_QUEUE_LABEL: owner.name}},
            # A worker that is not ready does not block a node: it drains like any other.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _pod_template(
    owner: Owner, *, spec: TaskQueueSpec, timeouts: Timeouts, config: WorkerConfig
) -> dict[str, Any]:
    annotations = {} if timeouts.evictable else dict(NOT_EVICTABLE)
    return {
        "metadata": {"labels": owner.labels()}
        | ({"annotations": annotations} if annotations else {}),
        "spec": {
            "containers": [_container(owner, spec=spec, config=config)],
            "terminationGracePeriodSeconds": round(timeouts.termination_grace),
            # Workers never talk to Kubernetes.
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "topologySpreadConstraints": [_spread(owner, over=ZONE), _spread(owner, over=NODE)],
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    }


def _spread(owner: Owner, *, over: str) -> dict[str, Any]:
    """Spread evenly if possible; a worker that runs anywhere is better than none."""
    return {
        "topologyKey": over,
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {TASK_QUEUE_LABEL: owner.name}},
        # Per template: a rollout's new pods are spread among themselves.
        "matchLabelKeys": ["pod-template-hash"],
    }


NOT_EVICTABLE = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def _container(owner: Owner, *, spec: TaskQueueSpec, config: WorkerConfig) -> dict[str, Any]:
    worker = spec.worker
    env = [
        {"name": variable.name}
        | ({"value": variable.value} if variable.value is not None else {})
        | ({"valueFrom": variable.value_from} if variable.value_from is not None else {})
        for variable in worker.env
    ]
    own_env: list[dict[str, Any]] = [
        {"name": WORKER_CONFIG_ENV, "value": _literal(config.to_json())},
        {"name": POD_NAME_ENV, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        # Set here, because a ConfigMap in the user's `envFrom` may set it too.
        {"name": TERMINATION_LOG_ENV, "value": TERMINATION_LOG},
    ]
    taken = {variable["name"] for variable in own_env}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": worker.image,
        "env": [variable for variable in env if variable["name"] not in taken] + own_env,
        "ports": [{"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}],
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        # Without the delay, no worker would be ready yet, and each start would leave a warning.
        "readinessProbe": _probe("/readyz", period=2, failures=2) | {"initialDelaySeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": START_ROOM}}},
        # The worker writes why it ended to the termination log; otherwise, its last output is used.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # Killing its own children and calling prctl need no capability.
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if worker.resources is not None:
        container["resources"] = worker.resources.model_dump(exclude_none=True)
    if worker.image_pull_policy is not None:
        container["imagePullPolicy"] = worker.image_pull_policy
    return container


def _literal(config: str) -> str:
    """Return the same JSON without a `$`: in a variable's value, the kubelet replaces `$$` with `$`
    and `$(NAME)` with the value of another variable."""
    return config.replace("$", "\\u0024")  # in JSON, it occurs only in strings


def _sources(template: Mapping[str, Any], owner: Owner) -> list[Any]:
    """Return the sources of the container's environment. Our Secret is last, because the later of
    two values with the same name wins."""
    ours = {"secretRef": {"name": worker_name(owner.name)}}
    theirs = container_in(template).get("envFrom")
    return [*(each for each in theirs or () if each != ours), ours]


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": HTTP_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }
