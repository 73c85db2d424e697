"""A real cluster with Longshore installed as a user would; one namespace for each test."""

import json
import re
from collections.abc import Iterator

import pytest

from dev import paths, release
from dev.kube import Kube
from tests.e2e.tenant import Tenant


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def kube() -> Kube:
    kube = Kube.from_record()
    release.install(kube)
    return kube


@pytest.fixture
def tenant(kube: Kube, request: pytest.FixtureRequest) -> Iterator[Tenant]:
    """A namespace named after the test, with handlers that do what a test asks of them."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())
    images = json.loads(paths.IMAGES_RECORD.read_text())
    tenant = Tenant(kube=kube, namespace=f"e2e-{words[:50].strip('-')}", image=images["worker"])
    tenant.create()
    yield tenant
    tenant.delete()
