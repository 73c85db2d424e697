"""What goes wrong around a TaskQueue shows in its status; nothing is lost meanwhile."""

import json

import pytest

from dev import release
from dev.errors import CommandFailed
from dev.kube import Kube, wait_for
from tests.e2e.tenant import Tenant


def test_an_image_that_cannot_be_had_is_in_the_status(tenant: Tenant) -> None:
    tenant.apply(worker={"image": "localhost/no-such-image:1"}, scaling={"min": 1})

    found = tenant.wait_for_condition("WorkersReady", "False", reason="ImagePullBackOff")

    assert "localhost/no-such-image:1" in found["message"]
    assert tenant.condition("Ready")["status"] == "False"


def test_a_handler_module_that_fails_to_import_is_in_the_status(tenant: Tenant) -> None:
    tenant.configmap("handlers", {"jobs.py": "import no_such_library\n"})
    tenant.apply(scaling={"min": 1})

    def look() -> str | None:
        found = tenant.condition("WorkersReady")
        return found.get("message") if "no_such_library" in found.get("message", "") else None

    message = wait_for("the import error", look, seconds=60)
    assert "jobs" in message


def test_a_broker_that_does_not_answer_is_a_condition_and_holds_everything(
    lone: Tenant, kube: Kube
) -> None:
    """RabbitMQ goes away under a running worker: replicas stay, and work goes on afterwards."""
    lone.apply(scaling={"min": 1})
    lone.wait_for_condition("Ready", "True", seconds=90)
    rabbitmq = (f"statefulset/{lone.place.service}", f"--namespace={lone.namespace}")

    kube.kubectl("scale", *rabbitmq, "--replicas=0")
    try:
        found = lone.wait_for_condition("BrokerReachable", "False", seconds=60)
        assert found["message"]
        assert lone.replicas() == 1
        assert lone.condition("ScalingActive")["status"] != "True"
    finally:
        kube.kubectl("scale", *rabbitmq, "--replicas=1")
        kube.kubectl("rollout", "status", *rabbitmq, "--timeout=90s")

    lone.wait_for_condition("Ready", "True", seconds=90)
    with lone.client() as client:
        client.enqueue(lone.queue(), "note", text="after the storm")
    wait_for("the job is done", lambda: lone.jobs().get("succeeded") == 1, seconds=60)


def test_a_broker_that_is_not_there_is_named(tenant: Tenant) -> None:
    tenant.apply(broker={"name": "nowhere"})

    found = tenant.wait_for_condition("BrokerReachable", "False", reason="BrokerNotFound")

    assert "nowhere" in found["message"]


@pytest.mark.parametrize(
    ("secret", "host", "word"),
    [
        ({"username": "nobody", "password": "wrong"}, None, "nobody"),
        ({"username": "a", "password": "b"}, "no-such-host.invalid", "no-such-host.invalid"),
    ],
    ids=["wrong-password", "wrong-host"],
)
def test_a_broker_that_cannot_be_used_says_why(
    tenant: Tenant, kube: Kube, secret: dict[str, str], host: str | None, word: str
) -> None:
    name = tenant.namespace
    kube.apply(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "broker", "namespace": tenant.namespace},
                "stringData": secret,
            }
        )
    )
    address = host or f"{release.BROKER_SERVICE}.{release.NAMESPACE}.svc"
    kube.apply(
        json.dumps(
            {
                "apiVersion": "longshore.dev/v1alpha1",
                "kind": "Broker",
                "metadata": {"name": name},
                "spec": {
                    "host": address,
                    "secretRef": {"name": "broker", "namespace": tenant.namespace},
                },
            }
        )
    )
    try:
        tenant.apply(broker={"name": name})
        wait_for(
            f"a condition that names {word}",
            lambda: word in tenant.condition("BrokerReachable").get("message", ""),
        )
        assert tenant.condition("BrokerReachable")["status"] == "False"
        with pytest.raises(CommandFailed, match="NotFound"):
            tenant.replicas()
    finally:
        tenant.kube.kubectl("delete", "taskqueue", "work", f"--namespace={tenant.namespace}")
        kube.kubectl("delete", "broker", name)
