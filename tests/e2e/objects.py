"""Objects of Kubernetes by hand, as the operator makes them."""

import json

from dev import paths
from tests.e2e.tenant import Tenant


def task_queue(tenant: Tenant, name: str) -> str:
    """Make one that nobody looks after, and give its uid."""
    tenant.apply(name, broker={"name": "nobody"})
    return str(tenant.kube.get("taskqueue", name, f"-n={tenant.namespace}")["metadata"]["uid"])


def deployment(tenant: Tenant, name: str, owner: str) -> str:
    """Make the Deployment of its workers, with a pod, and give its uid."""
    labels = {"longshore.dev/task-queue": name}
    image = json.loads(paths.IMAGES_RECORD.read_text())["pause"]
    container = {"name": "worker", "image": image, "imagePullPolicy": "IfNotPresent"}
    reference = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "TaskQueue",
        "name": name,
        "uid": owner,
        "controller": True,
    }
    tenant.kube.apply(
        json.dumps(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": f"{name}-worker",
                    "namespace": tenant.namespace,
                    "labels": labels,
                    "ownerReferences": [reference],
                },
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
                    },
                },
            }
        )
    )
    found = tenant.kube.get("deployment", f"{name}-worker", f"-n={tenant.namespace}")
    return str(found["metadata"]["uid"])


def replica_set(tenant: Tenant, name: str) -> dict[str, str]:
    """A reference to the ReplicaSet of a TaskQueue's workers, for a pod that passes for one of
    them without being counted by Kubernetes."""
    selector = f"--selector=longshore.dev/task-queue={name}"
    found = tenant.kube.get("replicasets", f"--namespace={tenant.namespace}", selector)
    metadata = found["items"][0]["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
