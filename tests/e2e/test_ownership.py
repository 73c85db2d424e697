"""Only what a TaskQueue owns is taken for its own, and a virtual host has one Broker."""

import json
import uuid
from typing import Any

from dev import paths
from dev.kube import wait_for
from tests.e2e.tenant import Tenant

LABELS = {"longshore.dev/task-queue": "work"}
QUICK = {"min": 0, "max": 2, "policy": "backlog", "idleGrace": "2s", "steadyFor": "0s"}


def pause() -> dict[str, Any]:
    image = json.loads(paths.IMAGES_RECORD.read_text())["pause"]
    return {"name": "worker", "image": image, "imagePullPolicy": "IfNotPresent"}


def enqueue(tenant: Tenant, count: int) -> None:
    with tenant.client() as client:
        for number in range(count):
            client.enqueue(tenant.queue(), "note", text=f"{number}")


def wait_until_done(tenant: Tenant, count: int) -> None:
    wait_for("the jobs are done", lambda: tenant.jobs().get("succeeded") == count, seconds=90)
    wait_for("nobody works", lambda: tenant.replicas() == 0, seconds=90)


def test_another_deployment_with_the_label_does_not_take_the_place_of_the_workers(
    tenant: Tenant,
) -> None:
    """A copy of the YAML, or a canary."""
    metadata = {"name": "a-copy", "namespace": tenant.namespace, "labels": LABELS}
    template = {"metadata": {"labels": {"app": "copy"}}, "spec": {"containers": [pause()]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "copy"}}, "template": template}
    copy = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    tenant.kube.apply(json.dumps(copy))
    tenant.apply(scaling=QUICK)
    tenant.wait_for_condition("Ready", "True", seconds=90)

    enqueue(tenant, 3)

    wait_until_done(tenant, 3)
    found = tenant.kube.get("deployment", "a-copy", f"--namespace={tenant.namespace}")
    assert found["spec"]["replicas"] == 0
    assert found["metadata"]["generation"] == 1


def test_a_pod_with_the_label_alone_is_no_worker(tenant: Tenant) -> None:
    """It would be a silent one, for which nobody goes."""
    tenant.apply(scaling=QUICK)
    tenant.wait_for_condition("Ready", "True", seconds=90)
    metadata = {"name": "producer", "namespace": tenant.namespace, "labels": LABELS}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    tenant.kube.apply(json.dumps({**pod, "spec": {"containers": [pause()]}}))
    where = f"--namespace={tenant.namespace}"
    tenant.kube.kubectl("wait", "pod/producer", "--for=condition=Ready", where)

    enqueue(tenant, 2)

    wait_until_done(tenant, 2)
    assert tenant.condition("ScalingActive")["status"] == "True"


def test_what_a_task_queue_has_left_behind_is_its_successors(tenant: Tenant) -> None:
    tenant.apply(scaling={**QUICK, "min": 1})
    tenant.wait_for_condition("Ready", "True", seconds=90)
    where = f"--namespace={tenant.namespace}"
    objects = (
        ("secret", "work-worker"),
        ("secret", "work-producer"),
        ("deployment", "work-worker"),
        ("poddisruptionbudget", "work-worker"),
    )
    tenant.kube.kubectl("delete", "taskqueue", "work", where, "--cascade=orphan", "--timeout=90s")

    tenant.apply(scaling={**QUICK, "min": 1})
    uid = tenant.kube.get("taskqueue", "work", where)["metadata"]["uid"]

    def owners() -> set[str | None]:
        found = [tenant.kube.get(kind, name, where)["metadata"] for kind, name in objects]
        return {
            reference.get("uid")
            for each in found
            for reference in each.get("ownerReferences", [{}])
        }

    wait_for("all have the new owner", lambda: owners() == {uid}, seconds=60)
    tenant.wait_for_condition("Ready", "True", seconds=90)


def test_a_second_broker_on_a_virtual_host_is_not_ready(tenant: Tenant) -> None:
    kube, name = tenant.kube, f"e2e-second-{uuid.uuid4().hex[:6]}"
    first = kube.get("broker", tenant.place.broker)
    second = {key: first[key] for key in ("apiVersion", "kind", "spec")}
    try:
        kube.apply(json.dumps({**second, "metadata": {"name": name}}))

        def refused() -> dict[str, Any] | None:
            conditions = kube.get("broker", name).get("status", {}).get("conditions", [])
            found = (each for each in conditions if each["type"] == "Ready")
            return next((each for each in found if each["reason"] == "VhostTaken"), None)

        found = wait_for("it is refused", refused, seconds=60)
        assert f"Broker '{tenant.place.broker}'" in found["message"]
    finally:
        kube.kubectl("delete", "broker", name)
    tenant.apply(scaling=QUICK)
    tenant.wait_for_condition("Ready", "True", seconds=90)
