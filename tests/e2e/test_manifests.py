"""What the API server refuses, and with which words."""

import pytest
import yaml

from dev.errors import CommandFailed
from dev.kube import Kube
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
    "max_age_before_any_retry": (
        {"retry": {"initialDelay": "10s", "maxAge": "10s"}},
        ["spec.retry", "initialDelay (10s)", "maxAge (10s)", "maxAttempts to 1"],
    ),
    "middleware_twice": ({"worker": {"middleware": ["a", "a"]}}, ["spec.worker.middleware", "a"]),
    "negative_attempts": ({"retry": {"maxAttempts": 0}}, ["spec.retry.maxAttempts"]),
}


@pytest.fixture
def server(kube: Kube) -> Tenant:
    """Manifests are only shown to the API server here, so no namespace of one's own is needed."""
    return Tenant(kube=kube, namespace="default", image="example.invalid/none:1")


@pytest.mark.parametrize("case", BAD)
def test_a_contradiction_is_refused_by_its_field(server: Tenant, case: str) -> None:
    changes, words = BAD[case]

    with pytest.raises(CommandFailed) as refused:
        server.dry_run(server.manifest(**changes))

    assert [word for word in words if word not in str(refused.value)] == []


def test_a_name_that_is_too_long_is_refused(server: Tenant) -> None:
    with pytest.raises(CommandFailed, match=r"metadata\.name must be .* at most 54 characters"):
        server.dry_run(server.manifest("q" * 55))


def test_the_shortest_manifest_is_complete(server: Tenant) -> None:
    shortest = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "short", "namespace": server.namespace},
        "spec": {
            "timeLimit": {"hard": "1h"},
            "worker": {"image": "example.invalid/none:1", "handlers": ["jobs"]},
        },
    }

    spec = server.dry_run(yaml.safe_dump(shortest))["spec"]

    assert (spec["scaling"]["min"], spec["scaling"]["max"]) == (0, 10)
    assert spec["retry"]["maxAttempts"] == 5
