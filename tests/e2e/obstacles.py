"""Everything that keeps workers from running, side by side on a real cluster.

Each cause is a TaskQueue of its own, in a namespace that has what makes it fail: a quota, an
admission rule, or nothing.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import yaml

from dev import paths
from dev.errors import CommandFailed, NotReady
from dev.kube import Kube, wait_for
from longshore import Client
from longshore.contract.names import AMQP_URL_ENV
from tests.e2e.conftest import RUN, namespace_of
from tests.e2e.tenant import Tenant

ONE = {"min": 1, "max": 2, "policy": "backlog", "idleGrace": "2s"}
"""A worker is wanted though no job waits."""

NONE = {"min": 0, "max": 2, "policy": "backlog", "idleGrace": "2s"}

AT_ONCE = 12
"""Causes that are applied together."""

IMAGE = "the worker's"
"""Stands for the image of the worker, which is known when the tests run."""

VOLUME = {"name": "handlers", "configMap": {"name": "handlers"}}
MOUNT = {"name": "handlers", "mountPath": "/app"}
RUNTIME = f"e2e-{RUN[:8]}"
ADMISSION = "admissionregistration.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason for a worker not to run, and what users should read."""

    reason: str
    says: str
    """Kubernetes' or RabbitMQ's own words."""

    place: str = "plain"
    """Which of the namespaces it is in."""

    scaling: dict[str, Any] = field(default_factory=lambda: ONE)
    handlers: str = "handlers"
    """Name of the ConfigMap with its handlers."""

    worker: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)
    jobs: int = 0
    """Those that wait."""

    @property
    def is_silent(self) -> bool:
        """Whether nobody says anything: only time tells."""
        return self.reason == "StartOverdue"

    def manifest(self, tenant: Tenant, name: str) -> str:
        mounts = [MOUNT, *self.container.get("volumeMounts", [])]
        container = {"name": "worker", **self.container, "volumeMounts": mounts}
        handlers = {**VOLUME, "configMap": {"name": self.handlers}}
        spec = {
            **self.pod,
            "volumes": [handlers, *self.pod.get("volumes", [])],
            "containers": [container, *self.pod.get("containers", [])],
        }
        worker = {"podTemplate": {"spec": spec}, **self.worker}
        manifest = tenant.manifest(name, scaling=self.scaling)
        found = yaml.safe_load(manifest)
        found["spec"]["worker"] |= worker
        return json.dumps(found).replace(IMAGE, tenant.image)


def volume(**source: Any) -> dict[str, Any]:
    """A volume of this kind, mounted into the worker."""
    return {
        "pod": {"volumes": [{"name": "extra", **source}]},
        "container": {"volumeMounts": [{"name": "extra", "mountPath": "/extra"}]},
    }


def init(**container: Any) -> dict[str, Any]:
    """An init container."""
    return {"pod": {"initContainers": [{"name": "migrate", "image": IMAGE, **container}]}}


CAUSES: dict[str, Cause] = {
    "quota-of-pods": Cause(
        place="quota", reason="FailedCreate", says="exceeded quota: few, requested: pods=1"
    ),
    "quota-wants-limits": Cause(
        place="memory", reason="FailedCreate", says="must specify limits.memory for: worker"
    ),
    "limit-range": Cause(
        place="range",
        reason="FailedCreate",
        says="maximum memory usage per Container is 64Mi, but limit is 1Gi",
        worker={"resources": {"limits": {"memory": "1Gi"}}},
    ),
    "killed-for-memory": Cause(
        place="range",
        reason="WorkerCrashed",
        says="OOMKilled",
        handlers="greedy",
        worker={"resources": {"limits": {"memory": "64Mi"}}},
    ),
    "pod-security": Cause(
        place="restricted",
        reason="FailedCreate",
        says='violates PodSecurity "restricted:latest": restricted volume types',
        **volume(hostPath={"path": "/tmp"}),
    ),
    "policy-on-pods": Cause(
        place="unsigned", reason="FailedCreate", says="denied request: images must be signed"
    ),
    "webhook-on-pods-is-down": Cause(
        place="hooked", reason="FailedCreate", says='failed calling webhook "pods.longshore.test"'
    ),
    "policy-on-the-deployment": Cause(
        place="undeployed", reason="RefusedByKubernetes", says="no Deployments here"
    ),
    "policy-on-the-number": Cause(place="unscaled", reason="ScaleRefused", says="no replicas here"),
    "no-replica-set": Cause(
        place="unset", reason="ReplicaSetCreateError", says="exceeded quota: few"
    ),
    "secret-volume": Cause(
        reason="FailedMount",
        says='secret "absent" not found',
        **volume(secret={"secretName": "absent"}),
    ),
    "configmap-volume": Cause(
        reason="FailedMount",
        says='configmap "absent" not found',
        **volume(configMap={"name": "absent"}),
    ),
    "claim-of-a-volume": Cause(
        reason="Unschedulable",
        says='persistentvolumeclaim "absent" not found',
        **volume(persistentVolumeClaim={"claimName": "absent"}),
    ),
    "secret-in-env": Cause(
        reason="CreateContainerConfigError",
        says='secret "absent" not found',
        worker={
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "a"}}}]
        },
    ),
    "init-container-fails": Cause(
        reason="InitContainerFailed",
        says="init container 'migrate' ended with exit code 1: no database",
        **init(
            command=["python3", "-c", "raise SystemExit('no database')"],
            terminationMessagePolicy="FallbackToLogsOnError",
        ),
    ),
    "init-container-without-image": Cause(
        reason="ErrImageNeverPull",
        says="init container 'migrate': image 'localhost/nowhere:1'",
        **init(image="localhost/nowhere:1", imagePullPolicy="Never"),
    ),
    "init-container-hangs": Cause(
        reason="StartOverdue",
        says="waits for init container 'migrate'",
        **init(command=["sleep", "1000"]),
    ),
    "sidecar-crashes": Cause(
        reason="ContainerCrashed",
        says="container 'proxy' ended with exit code 1",
        pod={"containers": [{"name": "proxy", "image": IMAGE, "command": ["false"]}]},
    ),
    "worker-ends-with-0": Cause(
        reason="WorkerExited", says="ended with exit code 0", handlers="leaving"
    ),
    "import-fails": Cause(
        reason="WorkerCrashed", says="No module named 'no_such_library'", handlers="broken"
    ),
    "import-hangs": Cause(
        reason="StartOverdue", says="the worker runs and is not ready", handlers="hanging"
    ),
    "probes-fail": Cause(
        reason="Unhealthy",
        says="probe failed",
        handlers="stopped",
        # The first process of a container cannot be stopped from within.
        pod={"shareProcessNamespace": True},
    ),
    "image-that-cannot-be-pulled": Cause(
        reason="ImagePullBackOff",
        says="image 'localhost/nowhere:1': ",
        worker={"image": "localhost/nowhere:1"},
    ),
    "image-without-a-name": Cause(
        reason="InvalidImageName",
        says="must be lowercase",
        container={"image": "UPPER CASE"},
    ),
    "no-node-fits": Cause(
        reason="Unschedulable",
        says="didn't match Pod's node affinity/selector",
        pod={"nodeSelector": {"gpu": "yes"}},
    ),
    "runtime-class-absent": Cause(
        reason="FailedCreate",
        says='RuntimeClass "absent" not found',
        pod={"runtimeClassName": "absent"},
    ),
    "runtime-not-on-the-node": Cause(
        reason="FailedCreatePodSandBox",
        says='no runtime for "no-such-handler" is configured',
        pod={"runtimeClassName": RUNTIME},
    ),
    "root-is-forbidden": Cause(
        reason="CreateContainerConfigError",
        says="breaks non-root policy",
        pod={"securityContext": {"runAsUser": 0}},
    ),
    "priority-class-absent": Cause(
        reason="FailedCreate",
        says="no PriorityClass with name absent was found",
        pod={"priorityClassName": "absent"},
    ),
    "service-account-absent": Cause(
        reason="FailedCreate",
        says='serviceaccount "absent" not found',
        pod={"serviceAccountName": "absent"},
    ),
    "policy-misspelt": Cause(
        reason="PolicyUnknown",
        says="scaling.policy 'queuewait' is not installed; use one of ",
        scaling={**NONE, "policy": "queuewait"},
        jobs=3,
    ),
    "policy-misspelt-without-jobs": Cause(
        reason="PolicyUnknown", says="'queuewait'", scaling={**ONE, "policy": "queuewait"}
    ),
    "paused": Cause(
        reason="Paused",
        says="jobs are waiting, but no worker is requested: scaling.paused is true",
        scaling={**NONE, "paused": True},
        jobs=1,
    ),
    "window-of-none": Cause(
        reason="LimitedToZero",
        says="lowers it to 0",
        scaling={**NONE, "windows": [{"cron": "* * * * *", "duration": "1h", "max": 0}]},
        jobs=3,
    ),
}

HANDLERS = {
    "greedy": "hoard = bytearray(500 << 20)\n",
    "leaving": "import os, signal\nos.kill(os.getppid(), signal.SIGTERM)\n",
    "broken": "import no_such_library\n",
    "hanging": "import time\ntime.sleep(1000)\n",
    "stopped": "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(1000)\n",
}
"""ConfigMaps with the module `jobs`."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The namespaces, and when what went wrong in them began."""

    kube: Kube
    tenants: dict[str, Tenant]
    published: dict[str, float]
    """When the jobs came that wait, in seconds since the epoch."""

    def tenant(self, name: str) -> Tenant:
        return self.tenants[CAUSES[name].place]

    def condition(self, type_: str, name: str) -> dict[str, Any]:
        return self.tenant(name).condition(type_, name)


@contextmanager
def standing(kube: Kube, *, at_once: int = AT_ONCE) -> Iterator[Stage]:
    """All causes, `at_once` of them applied together; they are gone after the block."""
    image = json.loads(paths.IMAGES_RECORD.read_text())["worker"]
    places = sorted({cause.place for cause in CAUSES.values()})
    tenants = {
        place: Tenant(kube=kube, namespace=namespace_of(f"obstacles-{place}"), image=image)
        for place in places
    }
    shared = list(_rules(tenants))
    try:
        for tenant in tenants.values():
            tenant.create()
            for name, source in HANDLERS.items():
                tenant.configmap(name, {"jobs.py": source})
        label = "pod-security.kubernetes.io/enforce=restricted"
        kube.kubectl("label", "namespace", tenants["restricted"].namespace, label)
        kube.apply(_list([*shared, *_limits(tenants)]))
        for tenant, kind in ((tenants["unsigned"], "pod"), (tenants["undeployed"], "deployment")):
            wait_for(f"rule on {kind}s", partial(_is_refused, tenant, kind), seconds=30)
        stage = Stage(kube=kube, tenants=tenants, published={})
        names = sorted(CAUSES, key=lambda name: CAUSES[name].is_silent)
        for begin in range(0, len(names), at_once):
            _begin(stage, names[begin : begin + at_once])
        yield stage
    finally:
        for tenant in tenants.values():
            tenant.delete(wait=False)
        for each in shared:
            kube.kubectl("delete", each["kind"], each["metadata"]["name"], "--ignore-not-found")


def _begin(stage: Stage, names: list[str]) -> None:
    """Apply some of the causes, and wait until most have had their effect: all at once would only
    show how long it takes to make so many pods."""
    manifests = [CAUSES[name].manifest(stage.tenant(name), name) for name in names]
    stage.kube.apply("\n---\n".join(manifests))
    _publish(stage, [name for name in names if CAUSES[name].jobs])

    def are_told() -> bool:
        found = {
            each["metadata"]["name"]
            for each in stage.kube.get("taskqueues", "--all-namespaces")["items"]
            for condition in each.get("status", {}).get("conditions", [])
            if (condition["type"], condition["status"]) == ("Ready", "False")
        }
        return len(found & set(names)) > 0.7 * len(names)

    with suppress(NotReady):  # which of them it is, its own test tells
        wait_for("most are told", are_told, seconds=20)


def _publish(stage: Stage, names: list[str]) -> None:
    """Have jobs wait where a cause wants some."""
    if not names:
        return
    with stage.tenant(names[0]).outside_of_cluster() as address:
        for name in names:
            tenant = stage.tenant(name)
            tenant.wait_until_declared(name)
            with Client(address(tenant.credentials(name)[AMQP_URL_ENV])) as client:
                for number in range(CAUSES[name].jobs):
                    client.enqueue(tenant.queue(name), "note", text=str(number))
            stage.published[name] = time.time()


def _is_refused(tenant: Tenant, kind: str) -> bool:
    """Whether an admission rule is in force: it is a moment after it was made."""
    try:
        words = (
            ("create", kind, "probe", "--image=none")
            if kind == "deployment"
            else ("run", "probe", "--image=none", "--restart=Never")
        )
        tenant.kube.kubectl(*words, "--dry-run=server", f"--namespace={tenant.namespace}")
    except CommandFailed:
        return True
    return False


def _list(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _limits(tenants: dict[str, Tenant]) -> Iterator[dict[str, Any]]:
    hard = {
        "quota": {"pods": "0"},
        "memory": {"limits.memory": "10Gi"},
        "unset": {"count/replicasets.apps": "0"},
    }
    for place, limits in hard.items():
        metadata = {"name": "few", "namespace": tenants[place].namespace}
        spec = {"hard": limits}
        yield {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}
    yield {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "small", "namespace": tenants["range"].namespace},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]},
    }


def _rules(tenants: dict[str, Tenant]) -> Iterator[dict[str, Any]]:
    """What is in no namespace."""
    yield from rule(
        tenants["unsigned"],
        "pods",
        ("CREATE",),
        expression="false",
        message="images must be signed",
    )
    yield from rule(
        tenants["undeployed"],
        "deployments",
        ("CREATE",),
        expression="false",
        message="no Deployments here",
    )
    yield from rule(
        tenants["unscaled"],
        "deployments",
        ("UPDATE",),
        expression="object.spec.replicas == 0",
        message="no replicas here",
    )
    yield {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": tenants["hooked"].namespace},
        "webhooks": [
            {
                "name": "pods.longshore.test",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 2,
                "failurePolicy": "Fail",
                "namespaceSelector": _only(tenants["hooked"]),
                "rules": [_operations("pods", ("CREATE",))],
                # Nobody listens there.
                "clientConfig": {"url": "https://127.0.0.1:9/none"},
            }
        ],
    }
    yield {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": RUNTIME},
        "handler": "no-such-handler",
    }


def rule(
    tenant: Tenant, resource: str, operations: tuple[str, ...], *, expression: str, message: str
) -> Iterator[dict[str, Any]]:
    """An admission policy for one namespace, and its binding of the same name."""
    metadata = {"name": tenant.namespace}
    yield {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": metadata,
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": _only(tenant),
                "resourceRules": [_operations(resource, operations)],
            },
            "validations": [{"expression": expression, "message": message}],
        },
    }
    yield {
        "apiVersion": f"{ADMISSION}/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": metadata,
        "spec": {"policyName": tenant.namespace, "validationActions": ["Deny"]},
    }


def _only(tenant: Tenant) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": tenant.namespace}}


def _operations(resource: str, operations: tuple[str, ...]) -> dict[str, Any]:
    group = "apps" if resource == "deployments" else ""
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": list(operations),
        "resources": [resource],
    }
