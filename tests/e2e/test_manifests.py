"""What the API server refuses, and with which words."""

import pytest
import yaml

from dev.errors import CommandFailed
from tests.e2e.tenant import Tenant

BAD = {
    "min_above_max": ({"scaling": {"min": 5, "max": 2}}, ["spec.scaling", "min", "max"]),
    "soft_not_below_hard": (
        {"timeLimit": {"hard": "10s", "soft": "10s"}},
        ["spec.timeLimit", "soft", "hard"],
    ),
    "bad_duration": ({"timeLimit": {"hard": "2 hours"}}, ["spec.timeLimit.hard", "2 hours"]),
    "no_time_at_all": ({"timeLimit": {"hard": "0s"}}, ["spec.timeLimit"]),
    "unknown_field": ({"worker": {"imagge": "x"}}, ["unknown field", "spec.worker.imagge"]),
    "no_handlers": ({"worker": {"handlers": []}}, ["spec.worker.handlers"]),
    "unknown_policy_value": (
        {"deletionPolicy": "Whatever"},
        ["spec.deletionPolicy", "RetainIfNotEmpty"],
    ),
    "negative_attempts": ({"retry": {"maxAttempts": 0}}, ["spec.retry.maxAttempts"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_contradiction_is_refused_by_its_field(tenant: Tenant, case: str) -> None:
    changes, words = BAD[case]

    with pytest.raises(CommandFailed) as refused:
        tenant.apply(**changes)

    assert [word for word in words if word not in str(refused.value)] == []


def test_a_name_that_is_too_long_is_refused(tenant: Tenant) -> None:
    with pytest.raises(CommandFailed, match="54 is the most"):
        tenant.apply("q" * 55)


def test_the_shortest_manifest_is_complete(tenant: Tenant) -> None:
    shortest = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "short", "namespace": tenant.namespace},
        "spec": {
            "timeLimit": {"hard": "1h"},
            "worker": {"image": "example.invalid/none:1", "handlers": ["jobs"]},
        },
    }

    tenant.kube.apply(yaml.safe_dump(shortest))

    spec = tenant.kube.get("tq", "short", f"--namespace={tenant.namespace}")["spec"]
    assert (spec["scaling"]["min"], spec["scaling"]["max"]) == (0, 10)
    assert spec["retry"]["maxAttempts"] == 5
