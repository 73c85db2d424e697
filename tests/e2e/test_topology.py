"""What the operator does in RabbitMQ, as far as Kubernetes has a part in it."""

import json

from dev import release
from dev.kube import Kube, wait_for
from tests.e2e.tenant import Tenant


def events(tenant: Tenant) -> dict[str, str]:
    """Messages of the namespace's events, by reason."""
    found = tenant.kube.get("events", f"--namespace={tenant.namespace}")["items"]
    return {event["reason"]: event["message"] for event in found}


def test_new_credentials_make_new_pods_and_drop_no_running_job(tenant: Tenant) -> None:
    tenant.apply(scaling={"min": 1})
    tenant.wait_for_condition("Ready", "True", seconds=120)
    before = tenant.secret("work-worker")
    (old,) = [pod["metadata"]["name"] for pod in tenant.pods()]
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=15)
    wait_for("the job runs", lambda: tenant.jobs().get("running") == 1, seconds=60)

    tenant.kube.kubectl(
        "annotate", "tq", "work", f"--namespace={tenant.namespace}",
        "longshore.dev/rotate-credentials=now",
    )  # fmt: skip

    wait_for("a new password", lambda: tenant.secret("work-worker") != before, seconds=60)
    wait_for("the job is done", lambda: tenant.jobs().get("succeeded") == 1, seconds=90)
    assert tenant.jobs().get("failed", 0) == 0

    def names() -> list[str]:
        return [pod["metadata"]["name"] for pod in tenant.pods()]

    wait_for("a new pod alone", lambda: len(names()) == 1 and old not in names(), seconds=120)
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "hold", seconds=0)
    wait_for("its job is done", lambda: tenant.jobs().get("succeeded") == 2, seconds=60)


def test_a_queue_deleted_by_hand_is_back_with_an_event(tenant: Tenant, kube: Kube) -> None:
    tenant.apply()
    tenant.wait_for_condition("QueueDeclared", "True")
    broker = (f"statefulset/{release.BROKER_SERVICE}", f"--namespace={release.NAMESPACE}")

    kube.kubectl(
        "exec", *broker, "--", "rabbitmqctl", "delete_queue", "-p", "longshore", tenant.queue()
    )

    wait_for("the queue is back", lambda: tenant.depth() == 0, seconds=30)
    wait_for("an event", lambda: "DriftRepaired" in events(tenant), seconds=30)
    assert tenant.queue() in events(tenant)["DriftRepaired"]


def test_a_broker_serves_only_the_namespaces_that_it_allows(tenant: Tenant, kube: Kube) -> None:
    spec = kube.get("broker", "default")["spec"]
    selector = {"matchLabels": {"longshore-e2e": "yes"}}
    body = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": tenant.namespace},
        "spec": {**spec, "allowedNamespaces": selector},
    }
    kube.apply(json.dumps(body))
    try:
        tenant.apply(broker={"name": tenant.namespace})
        found = tenant.wait_for_condition("QueueDeclared", "False", reason="NamespaceNotAllowed")
        assert tenant.namespace in found["message"]
        assert tenant.depth() is None

        kube.kubectl("label", "namespace", tenant.namespace, "longshore-e2e=yes")

        tenant.wait_for_condition("QueueDeclared", "True", seconds=90)
        tenant.kube.kubectl(
            "delete", "tq", "work", f"--namespace={tenant.namespace}", "--timeout=60s"
        )
    finally:
        kube.kubectl("delete", "broker", tenant.namespace)
