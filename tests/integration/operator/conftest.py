"""A virtual host for each test, on RabbitMQ 4.0 and 4.3, reached as the operator reaches it."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from longshore.contract.features import features_of
from longshore_operator.adapters.rabbitmq.link import RabbitMQ, connect
from longshore_operator.api.v1alpha1 import BrokerSpec
from longshore_operator.app.sessions.declaring import declare
from longshore_operator.app.sessions.session import Session
from longshore_operator.core.access.credentials import Address, address
from longshore_operator.core.rabbitmq.topology import vhost_topology
from tests.integration.operator.cleaning import remove_vhost


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/integration/operator/" in item.nodeid:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(params=["4.0", "4.3"])
def where(request: pytest.FixtureRequest, brokers: dict[str, dict[str, Any]]) -> Address:
    """A vhost that does not exist yet."""
    record = brokers[request.param]
    return address(broker_spec(record, vhost=f"op-{uuid.uuid4().hex[:12]}"), secret(record))


def broker_spec(record: dict[str, Any], *, vhost: str) -> BrokerSpec:
    amqp = urlsplit(record["amqp"])
    return BrokerSpec.model_validate(
        {
            "secretRef": {"name": "rabbit", "namespace": "mq"},
            "host": amqp.hostname,
            "port": amqp.port,
            "managementURL": record["management"],
            "vhost": vhost,
        }
    )


def secret(record: dict[str, Any]) -> dict[str, str]:
    return {"username": record["user"], "password": record["password"]}


@pytest.fixture
async def link(where: Address) -> AsyncIterator[RabbitMQ]:
    """An open link; its vhost goes with the test."""
    link = await connect(where, heartbeat=30.0)
    yield link
    await link.close()
    await remove_vhost(
        where.vhost, management=where.management_url, auth=(where.username, where.password)
    )


@pytest.fixture
async def session(where: Address, link: RabbitMQ) -> Session:
    """A session whose vhost has all that TaskQueues share."""
    return await ready_session(where, link)


async def ready_session(where: Address, link: RabbitMQ) -> Session:
    """The same on a vhost of the test's own choice."""
    spec = BrokerSpec.model_validate(
        {"secretRef": {"name": "rabbit", "namespace": "mq"}, "vhost": where.vhost}
    )
    session = Session(
        spec=spec,
        address=where,
        features=features_of(link.version),
        link=link,
        clock=time.monotonic,
    )
    await declare(vhost_topology(), session=session)
    return session
