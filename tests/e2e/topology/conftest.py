"""What the operator does in RabbitMQ, on both versions: `tenant` is on each of them in turn."""

import json
from collections.abc import Iterator

import pytest

from dev import paths
from dev.kube import Kube, wait_for
from tests.e2e.conftest import beginning_of, namespace_of, namespaces
from tests.e2e.tenant import Tenant
from tests.e2e.topology import rabbitmqs
from tests.e2e.topology.rabbitmqs import RabbitMQ


@pytest.fixture(scope="session")
def both(kube: Kube) -> Iterator[Kube]:
    """The cluster, with both RabbitMQs in it."""
    with rabbitmqs.both(kube):
        yield kube
        # With their Brokers gone first, the last ones' queues would not be looked at any more.
        wait_for("no namespace of theirs is left", lambda: not _theirs(kube), seconds=100)


def _theirs(kube: Kube) -> list[str]:
    beginnings = tuple(beginning_of(series) for series in rabbitmqs.SERIES)
    return [name for name in namespaces(kube) if name.startswith(beginnings)]


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
