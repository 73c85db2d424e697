"""Whenever no worker can run, the TaskQueue says so, in the words of what keeps it from that."""

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from dev.errors import NotReady
from dev.kube import Kube, wait_for
from longshore_operator.core.workload import TASK_QUEUE_LABEL
from tests.e2e.obstacles import CAUSES, Stage, standing
from tests.e2e.scaling.workers import events_of

SOON = 15.0
"""Seconds after which everybody can see what is wrong."""

SILENT = 35.0
"""Those after which they see that something is, where nobody says what."""

CROWDED = 4
"""By how much longer it may take where the cluster starts forty pods beside other tests."""


@pytest.fixture(scope="module")
def stage(kube: Kube) -> Iterator[Stage]:
    with standing(kube) as stage:
        yield stage


@pytest.mark.parametrize("name", CAUSES)
def test_what_keeps_workers_from_running_is_in_the_status_and_in_the_table(
    stage: Stage, name: str
) -> None:
    cause, tenant = CAUSES[name], stage.tenant(name)

    def look() -> dict[str, str] | None:
        ready = stage.condition("Ready", name)
        is_told = ready.get("status") == "False" and ready.get("reason") == cause.reason
        return ready if is_told and cause.says in ready["message"] else None

    try:
        ready = wait_for(f"{name}: {cause.reason}", look, seconds=60)
    except NotReady:
        pytest.fail(f"{name}: {json.dumps(tenant.status(name).get('conditions'), indent=1)}")

    table = tenant.kube.kubectl("get", "tq", name, f"--namespace={tenant.namespace}")
    assert cause.reason in table.splitlines()[1].split()
    took = _seconds(ready["lastTransitionTime"]) - began(stage, name)
    assert took <= CROWDED * (SILENT if cause.is_silent else SOON)


def began(stage: Stage, name: str) -> float:
    """When it could be known that no worker will run."""
    if name in stage.published:
        return stage.published[name]
    tenant = stage.tenant(name)
    where = (f"--namespace={tenant.namespace}", f"--selector={TASK_QUEUE_LABEL}={name}")
    made = [tenant.kube.get("tq", name, f"--namespace={tenant.namespace}")]
    made += tenant.kube.get("deployments", *where)["items"] + tenant.pods(name)
    return max(_seconds(each["metadata"]["creationTimestamp"]) for each in made)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def test_no_cause_is_an_event_more_than_a_few_times(stage: Stage) -> None:
    """Kubernetes tries again and again, and says now this, now that."""
    for name in CAUSES:
        for reason, count in events_of(stage.tenant(name), name).items():
            assert count <= 3, (name, reason)
