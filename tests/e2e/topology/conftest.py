"""What the operator does in RabbitMQ, on both versions: `tenant` is on each of them in turn."""

import json
from collections.abc import Iterator

import pytest

from dev import paths
from dev.kube import Kube
from dev.management import TRIAL
from tests.e2e.conftest import namespace_of, wait_until_gone
from tests.e2e.tenant import CREATED, Tenant
from tests.e2e.topology import rabbitmqs
from tests.e2e.topology.rabbitmqs import RabbitMQ
from tests.shared import shared


@pytest.fixture(scope="session")
def both(kube: Kube) -> Iterator[Kube]:
    """The cluster, with both RabbitMQs in it."""
    with shared(
        "rabbitmqs",
        make=lambda: rabbitmqs.start(kube),
        remove=lambda: rabbitmqs.remove(kube, wait=False),
    ):
        yield kube
        # With their Brokers gone first, the last ones' queues would not be looked at any more.
        wait_until_gone(kube, {each.namespace for each in CREATED if each.place != TRIAL})


@pytest.fixture(params=rabbitmqs.SERIES)
def rabbitmq(both: Kube, request: pytest.FixtureRequest) -> Iterator[RabbitMQ]:
    with rabbitmqs.reached(both, request.param) as rabbitmq:
        yield rabbitmq


@pytest.fixture
def tenant(rabbitmq: RabbitMQ, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace whose TaskQueues are on one of the two."""
    test = request.node.originalname.removeprefix("test_")
    tenant = Tenant(
        kube=rabbitmq.kube,
        namespace=namespace_of(f"{rabbitmq.series} {test}"),
        image=json.loads(paths.IMAGES_RECORD.read_text())["worker"],
        place=rabbitmq.place,
    )
    tenant.create()
    yield tenant
    tenant.delete(wait=False)


@pytest.fixture
def apart(tenant: Tenant, rabbitmq: RabbitMQ) -> Iterator[tuple[Tenant, RabbitMQ]]:
    """Tenant and RabbitMQ with a Broker and a vhost of the test's own."""
    with rabbitmqs.apart(tenant, rabbitmq) as apart:
        yield apart
