"""A real cluster with Longshore installed as a user would; one namespace for each test."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator

import pytest

from dev import paths, release
from dev.errors import NotReady
from dev.kube import Kube, wait_for
from tests.e2e import rabbitmq
from tests.e2e.tenant import CREATED, Tenant
from tests.shared import shared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.e2e)
            # Each of its waits has a deadline of its own; together they may need more than 300 s.
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    kube = Kube.from_record()

    def install() -> None:
        release.install(kube)
        if interrupted := namespaces(kube):
            kube.kubectl("delete", "namespace", *interrupted, "--timeout=120s")

    with shared("release", make=install):
        yield kube
        wait_until_gone(kube, {tenant.namespace for tenant in CREATED})


@pytest.fixture
def tenant(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace named after the test, with handlers that do what a test asks of them."""
    images = json.loads(paths.IMAGES_RECORD.read_text())
    namespace = namespace_of(request.node.name)
    tenant = Tenant(kube=kube, namespace=namespace, image=images["worker"])
    tenant.create()
    yield tenant
    # An emptied queue is only deleted once RabbitMQ is sure that it is empty: not waited for here.
    tenant.delete(wait=False)


@pytest.fixture
def lone(tenant: Tenant) -> Iterator[Tenant]:
    """The tenant, with a RabbitMQ of its own that the test may stop."""
    with rabbitmq.of_its_own(tenant) as lone:
        yield lone


RUN = secrets.token_hex(8)


def namespace_of(test: str) -> str:
    """Of this test in this run: a queue that keeps dead letters, as it should, is none of the next
    run's, and tests that differ only in what is cut off have a namespace each."""
    suffix = hashlib.sha256(f"{RUN}{test}".encode()).hexdigest()[:6]
    return f"{beginning_of(test)}-{suffix}"


def beginning_of(test: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", test.lower())
    return f"e2e-{words[:50].strip('-')}"


def wait_until_gone(kube: Kube, names: set[str]) -> None:
    """Queues go once RabbitMQ is sure that they are empty, and namespaces after them."""
    left = names

    def gone() -> bool:
        nonlocal left
        left = names & {*namespaces(kube)}
        return not left

    try:
        wait_for("namespaces of tests are gone", gone, seconds=240)
    except NotReady:
        raise NotReady(f"not gone after 240 s: {', '.join(sorted(left))}") from None


def namespaces(kube: Kube) -> list[str]:
    found = kube.get("namespaces")["items"]
    names = [namespace["metadata"]["name"] for namespace in found]
    return [name for name in names if name.startswith("e2e-")]
