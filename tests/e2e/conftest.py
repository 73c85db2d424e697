"""A real cluster with Longshore installed as a user would; one namespace for each test."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterator

import pytest

from dev import paths, release
from dev.kube import Kube, wait_for
from tests.e2e.tenant import Tenant
from tests.scheduling import ALONE


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group(ALONE))
            # Each of its waits has a deadline of its own; together they may need more than 300 s.
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    kube = Kube.from_record()
    release.install(kube)
    if interrupted := namespaces(kube):
        kube.kubectl("delete", "namespace", *interrupted, "--timeout=120s")
    yield kube
    wait_for("no namespace of a test is left", lambda: not namespaces(kube), seconds=120)


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


RUN = secrets.token_hex(8)


def namespace_of(test: str) -> str:
    """Of this test in this run: a queue that keeps dead letters, as it should, is none of the next
    run's, and tests that differ only in what is cut off have a namespace each."""
    suffix = hashlib.sha256(f"{RUN}{test}".encode()).hexdigest()[:6]
    return f"{beginning_of(test)}-{suffix}"


def beginning_of(test: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", test.lower())
    return f"e2e-{words[:50].strip('-')}"


def namespaces(kube: Kube) -> list[str]:
    found = kube.get("namespaces")["items"]
    names = [namespace["metadata"]["name"] for namespace in found]
    return [name for name in names if name.startswith("e2e-")]
