"""Workers that RabbitMQ has no room for are told in its own words."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dev import release
from dev.management import TRIAL, Place, management
from tests.e2e.scaling.workers import QUICK
from tests.e2e.tenant import Tenant


@pytest.fixture
def apart(tenant: Tenant) -> Iterator[Tenant]:
    """The tenant with a Broker of its own, on a vhost of its own."""
    name = tenant.namespace
    broker = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": name},
        "spec": {
            "host": f"{release.BROKER_SERVICE}.{release.NAMESPACE}.svc",
            "secretRef": {"name": release.BROKER_SERVICE, "namespace": release.NAMESPACE},
            "vhost": name,
        },
    }
    tenant.kube.apply(json.dumps(broker))
    place = Place(namespace=TRIAL.namespace, service=TRIAL.service, broker=name)
    yield replace(tenant, place=place)
    tenant.kube.kubectl("delete", "tq", "--all", f"--namespace={name}", "--timeout=90s")
    tenant.kube.kubectl("delete", "broker", name)
    with management(tenant.kube) as rabbitmq:
        rabbitmq.delete_vhost(name)


def test_workers_beyond_a_limit_of_connections_are_told_until_it_is_lifted(apart: Tenant) -> None:
    """As rented RabbitMQs have it. One worker is served, two are not."""
    apart.apply(scaling={**QUICK, "min": 1})
    apart.wait_for_condition("WorkersReady", "True", reason="Ready", seconds=90)
    with management(apart.kube) as rabbitmq:
        rabbitmq.limit_connections(apart.namespace, 0)

    apart.apply(scaling={**QUICK, "min": 3})
    told = apart.wait_for_condition("WorkersReady", "False", reason="WorkerNotConsuming")

    assert told["message"].startswith("1 of 3 workers are ready; pod work-worker-")
    assert "limit" in told["message"]
    assert apart.condition("Ready")["reason"] == "WorkerNotConsuming"
    with management(apart.kube) as rabbitmq:
        rabbitmq.limit_connections(apart.namespace, None)
    apart.wait_for_condition("WorkersReady", "True", reason="Ready")
    assert apart.condition("Ready")["status"] == "True"
    assert len(apart.events("WorkerNotConsuming")) == 1
