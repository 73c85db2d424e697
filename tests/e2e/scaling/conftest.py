"""TaskQueues that stand side by side, each with another setting of `scaling`."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dev import paths
from dev.kube import Kube, wait_for
from tests.e2e.conftest import namespace_of
from tests.e2e.scaling.workers import QUICK
from tests.e2e.tenant import Tenant

ALWAYS = {"cron": "* * * * *", "duration": "1h"}
"""A window that holds at any time."""

FIXED = {**QUICK, "policy": "fixed"}

STANDING: dict[str, dict[str, Any]] = {
    "floor": {"scaling": {**QUICK, "windows": [{**ALWAYS, "min": 1}]}},
    "ceiling": {"scaling": {**FIXED, "windows": [{**ALWAYS, "max": 1}]}},
    "dry": {"scaling": {**FIXED, "max": 2, "dryRun": True}},
    "changing": {"scaling": {**FIXED, "max": 1, "minLife": "30s"}},
    "long": {"scaling": {**QUICK, "min": 1}, "timeLimit": {"hard": "2h"}},
    "lost": {"scaling": {**FIXED, "budget": {"group": "nowhere"}}},
    "first": {"scaling": {**FIXED, "budget": {"group": "shared", "weight": 2}}},
    "second": {"scaling": {**FIXED, "budget": {"group": "shared"}}},
}
"""Changes to a manifest, by name."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs all tests on `standing`, since they share it."""
    for item in items:
        if isinstance(item, pytest.Function) and "standing" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("standing"))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def standing(kube: Kube) -> Iterator[Tenant]:
    """All of them in one namespace, declared: so many a wait is one wait."""
    images = json.loads(paths.IMAGES_RECORD.read_text())
    tenant = Tenant(kube=kube, namespace=namespace_of("standing"), image=images["worker"])
    tenant.create()
    for name, changes in STANDING.items():
        tenant.apply(name, **changes)

    def pending() -> list[str]:
        return [
            name
            for name in STANDING
            if tenant.condition("QueueDeclared", name).get("status") != "True"
        ]

    wait_for("all are declared", lambda: not pending(), seconds=90)
    yield tenant
    tenant.delete(wait=False)
