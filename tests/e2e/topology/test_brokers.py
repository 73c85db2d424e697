"""A Broker: what its status says, whom it lets in, and what becomes of it without its Secret."""

import json
from typing import Any

import pytest

from dev import release
from dev.kube import Kube, wait_for
from dev.management import TRIAL
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import (
    SERIES,
    VHOST,
    RabbitMQ,
    broker,
    cluster_operators_secret,
    place,
    secret,
)


def status(kube: Kube, name: str) -> dict[str, Any]:
    found: dict[str, Any] = kube.get("broker", name).get("status", {})
    return found


def ready(kube: Kube, name: str) -> dict[str, Any]:
    """The Broker's condition Ready; empty while it has none."""
    conditions = status(kube, name).get("conditions", [])
    return next((each for each in conditions if each["type"] == "Ready"), {})


def operator_pods(kube: Kube) -> list[tuple[str, int]]:
    selector = "--selector=app.kubernetes.io/component=operator"
    pods = kube.get("pods", f"--namespace={release.NAMESPACE}", selector)["items"]
    return [
        (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for pod in pods
    ]


def hand_over(tenant: Tenant, rabbitmq: RabbitMQ, *, username: str) -> None:
    """Make a new administrator, and have the Secret name it as the Cluster Operator would."""
    rabbitmq.api("PUT", "users", username, password=f"of-{username}", tags="administrator")
    values = cluster_operators_secret(rabbitmq.series, username=username, password=f"of-{username}")
    tenant.kube.apply(secret("default-user", values, namespace=tenant.namespace))


def test_brokers_of_both_versions_at_once(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.declared(scaling={"paused": True})

    found = wait_for(
        "its TaskQueue is counted",
        lambda: (
            now if (now := status(tenant.kube, tenant.place.broker)).get("taskQueues") else None
        ),
    )
    assert found["version"].startswith(f"{rabbitmq.series}.")
    assert found["features"] == dict.fromkeys(
        ("ackTimeoutByConsumer", "nackIsFree", "strictPriorities"), rabbitmq.by_consumer
    )
    brokers = [place(series).broker for series in SERIES]
    versions = [status(tenant.kube, name)["version"][:3] for name in brokers]
    assert versions == [*SERIES]
    assert all(ready(tenant.kube, name)["status"] == "True" for name in (*brokers, TRIAL.broker))


@pytest.mark.slow
def test_a_brokers_life_from_its_first_secret_to_its_end(
    tenant: Tenant, rabbitmq: RabbitMQ
) -> None:
    kube, name = tenant.kube, tenant.namespace
    try:
        hand_over(tenant, rabbitmq, username=f"{name}-old")
        reference = {"name": "default-user", "namespace": tenant.namespace}
        allowed = {"matchLabels": {"longshore-e2e": "yes"}}
        kube.apply(
            json.dumps(broker(name, reference=reference, vhost=name, allowedNamespaces=allowed))
        )
        outside_is_refused(tenant, rabbitmq)
        works_by_tls(tenant, rabbitmq)
        new_credentials_are_taken_up(tenant, rabbitmq)
        without_its_secret_it_says_so_and_lets_go(tenant, rabbitmq)
    finally:
        kube.kubectl("delete", "broker", name, "--ignore-not-found")
        rabbitmq.answer("DELETE", "vhosts", name)
        for user in rabbitmq.names("users"):
            if user.startswith(name):
                rabbitmq.answer("DELETE", "users", user)


def outside_is_refused(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.apply(broker={"name": tenant.namespace})
    found = tenant.wait_for_condition("QueueDeclared", "False", reason="NamespaceNotAllowed")
    assert tenant.namespace in found["message"]
    assert tenant.namespace in rabbitmq.names("vhosts"), "made by the operator"
    assert tenant.queue() not in rabbitmq.names("queues", tenant.namespace)


def works_by_tls(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    tenant.kube.kubectl("label", "namespace", tenant.namespace, "longshore-e2e=yes")
    tenant.declared(broker={"name": tenant.namespace}, queue={"maxLength": 100})

    credentials = tenant.credentials()
    assert credentials[AMQP_URL_ENV].startswith("amqps://")
    assert "BEGIN CERTIFICATE" in credentials[AMQP_CA_ENV]
    with tenant.client() as client:
        client.enqueue(tenant.queue(), "note", text="by TLS")
    wait_for("the job is done", lambda: tenant.jobs().get("succeeded") == 1, seconds=60)


def new_credentials_are_taken_up(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    name, before = tenant.namespace, operator_pods(tenant.kube)

    hand_over(tenant, rabbitmq, username=f"{name}-new")

    connections = ("vhosts", name, "connections")
    wait_for(
        "a connection of the new user",
        lambda: f"{name}-new" in rabbitmq.names(*connections, key="user"),
        seconds=40,
    )
    rabbitmq.api("DELETE", "users", f"{name}-old")
    tenant.declared(broker={"name": name}, queue={"maxLength": 50})
    (policy,) = [
        policy
        for policy in rabbitmq.api("GET", "policies", name)
        if policy["name"] == f"longshore.own.{tenant.queue()}"
    ]
    assert policy["definition"]["max-length"] == 50
    assert operator_pods(tenant.kube) == before, "no restart"


def without_its_secret_it_says_so_and_lets_go(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    """Here a deletion waits for its Broker; when that goes too, it is released with an Event."""
    kube, name = tenant.kube, tenant.namespace
    words = (f"--namespace={tenant.namespace}", "--wait=false")
    kube.kubectl("delete", "secret", "default-user", *words)
    rabbitmq.api("DELETE", "users", f"{name}-new")  # and with it the operator's connection
    found = wait_for(
        "the Broker is not Ready",
        lambda: now if (now := ready(kube, name)).get("reason") == "SecretNotFound" else None,
        seconds=60,
    )
    assert found["status"] == "False"
    assert "default-user" in found["message"]

    kube.kubectl("delete", "tq", "work", *words)
    kube.kubectl("delete", "broker", name)

    wait_for("an Event", lambda: tenant.events("QueueAbandoned"), seconds=30)
    assert tenant.queue() in tenant.events("QueueAbandoned")[0]
    kube.kubectl("wait", "tq", "work", words[0], "--for=delete", "--timeout=30s")
    assert name in rabbitmq.names("vhosts"), f"nothing was done to it, as nothing to {VHOST}"
