"""Whenever no worker can run, the TaskQueue says so, in the words of what keeps it from that."""

import json
from collections.abc import Iterator

import pytest

from dev.errors import NotReady
from dev.kube import Kube, wait_for
from tests.e2e.obstacles import CAUSES, Stage, standing
from tests.e2e.scaling.workers import events_of
from tests.e2e.telling import told


@pytest.fixture(scope="module")
def stage(kube: Kube) -> Iterator[Stage]:
    with standing(kube) as stage:
        yield stage


@pytest.mark.parametrize("name", CAUSES)
def test_what_keeps_workers_from_running_is_in_the_status_and_in_the_table(
    stage: Stage, name: str
) -> None:
    cause, tenant = CAUSES[name], stage.tenant(name)

    try:
        wait_for(f"{name}: {cause.reason}", lambda: told(stage, name), seconds=120)
    except NotReady:
        pytest.fail(f"{name}: {json.dumps(tenant.status(name).get('conditions'), indent=1)}")

    table = tenant.kube.kubectl("get", "tq", name, f"--namespace={tenant.namespace}")
    assert cause.reason in table.splitlines()[1].split()


def test_no_cause_is_an_event_more_than_a_few_times(stage: Stage) -> None:
    """Kubernetes tries again and again, and says now this, now that."""
    for name in CAUSES:
        for reason, count in events_of(stage.tenant(name), name).items():
            assert count <= 3, (name, reason)
