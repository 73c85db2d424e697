"""What the API server refuses, and with which words."""

from typing import Any

import pytest
import yaml

from dev.errors import CommandFailed
from dev.kube import Kube
from tests.e2e.tenant import Tenant
from tests.pod_templates import FIT, MISSHAPEN, UNFIT

BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "min_above_max": ({"scaling": {"min": 5, "max": 2}}, ["spec.scaling", "min", "max"]),
    "soft_not_below_hard": (
        {"timeLimit": {"hard": "10s", "soft": "10s"}},
        ["spec.timeLimit", "soft", "hard"],
    ),
    "bad_duration": ({"timeLimit": {"hard": "2 hours"}}, ["spec.timeLimit.hard", "2 hours"]),
    "no_time_at_all": ({"timeLimit": {"hard": "0s"}}, ["spec.timeLimit"]),
    "unknown_field": ({"worker": {"imagge": "x"}}, ["unknown field", "spec.worker.imagge"]),
    "no_handlers": ({"worker": {"handlers": []}}, ["spec.worker.handlers"]),
    "handlers_left_out": (
        {"worker": {"handlers": None}},
        ["spec.worker", "worker.handlers is missing", "worker.isolation"],
    ),
    "no_command": (
        {"worker": {"handlers": None, "isolation": "Exec"}},
        ["spec.worker", "worker.command is missing", "worker.isolation Exec"],
    ),
    "a_command_that_nothing_runs": (
        {"worker": {"command": ["/app/convert"]}},
        ["spec.worker", "worker.command has no effect", "worker.isolation"],
    ),
    "handlers_that_nothing_runs": (
        {"worker": {"isolation": "Exec", "command": ["/app/convert"]}},
        ["spec.worker", "worker.handlers has no effect", "worker.isolation Exec"],
    ),
    "unknown_isolation": ({"worker": {"isolation": "warm"}}, ["spec.worker.isolation", "Warm"]),
    "prefetch_of_nothing": (
        {"worker": {"prefetch": 0}},
        ["spec.worker.prefetch", "must be `auto` or a whole number from 1 to 1000"],
    ),
    "prefetch_in_words": (
        {"worker": {"prefetch": "many"}},
        ["spec.worker.prefetch", "must be `auto` or a whole number from 1 to 1000"],
    ),
    "prefetch_below_slots": (
        {"worker": {"prefetch": 2, "slots": 3}},
        ["spec.worker", "worker.prefetch", "worker.slots"],
    ),
    "unknown_policy_value": (
        {"deletionPolicy": "Whatever"},
        ["spec.deletionPolicy", "RetainIfNotEmpty"],
    ),
    "classic_of_its_own": ({"queue": {"type": "Classic"}}, ["queue.type Classic", "queue.name"]),
    "drop_head_of_no_end": ({"queue": {"overflow": "DropHead"}}, ["DropHead", "queue.maxLength"]),
    "deliveries_below_attempts": (
        {"queue": {"deliveryLimit": 3}, "retry": {"maxAttempts": 4}},
        ["queue.deliveryLimit", "retry.maxAttempts"],
    ),
    "odd_queue_name": ({"queue": {"name": "a\nb"}}, ["spec.queue.name"]),
    "max_age_before_any_retry": (
        {"retry": {"initialDelay": "10s", "maxAge": "10s"}},
        ["spec.retry", "initialDelay (10s)", "maxAge (10s)", "maxAttempts to 1"],
    ),
    "middleware_twice": ({"worker": {"middleware": ["a", "a"]}}, ["spec.worker.middleware", "a"]),
    "seconds_in_a_cron": (
        {"scaling": {"windows": [{"cron": "0 0 8 * * *", "duration": "1h", "max": 1}]}},
        ["spec.scaling.windows[0].cron", "must have five fields"],
    ),
    "a_cron_by_its_name": (
        {"scaling": {"windows": [{"cron": "@every_minute", "duration": "1h", "max": 1}]}},
        ["spec.scaling.windows[0].cron", "must have five fields"],
    ),
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


@pytest.mark.parametrize("case", UNFIT)
def test_a_pod_template_that_undoes_a_promise_is_refused_by_its_field(
    server: Tenant, case: str
) -> None:
    template, field = UNFIT[case]

    with pytest.raises(CommandFailed) as refused:
        server.dry_run(server.manifest(worker={"podTemplate": template}))

    assert "worker.podTemplate must not set" in str(refused.value)
    assert field in str(refused.value)


@pytest.mark.parametrize("case", MISSHAPEN)
def test_what_is_no_pod_template_is_refused(server: Tenant, case: str) -> None:
    with pytest.raises(CommandFailed, match=r"spec\.worker\.podTemplate"):
        server.dry_run(server.manifest(worker={"podTemplate": MISSHAPEN[case]}))


@pytest.mark.parametrize("case", FIT)
def test_a_pod_template_that_undoes_no_promise_is_stored_as_it_is(
    server: Tenant, case: str
) -> None:
    stored = server.dry_run(server.manifest(worker={"podTemplate": FIT[case]}))

    assert stored["spec"]["worker"]["podTemplate"] == FIT[case]


def test_an_address_by_worker_env_is_refused(server: Tenant) -> None:
    env = [{"name": "LONGSHORE_AMQP_URL", "value": "amqp://elsewhere"}]

    with pytest.raises(
        CommandFailed, match=r"worker\.env must not set any of .*LONGSHORE_AMQP_URL"
    ):
        server.dry_run(server.manifest(worker={"env": env}))


@pytest.mark.parametrize("heartbeat", ["400ms", "24h"])
def test_a_heartbeat_that_amqp_cannot_say_is_refused(server: Tenant, heartbeat: str) -> None:
    broker = {
        "apiVersion": "longshore.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": "heartbeats"},
        "spec": {"secretRef": {"name": "a", "namespace": "b"}, "heartbeat": heartbeat},
    }

    with pytest.raises(CommandFailed) as refused:
        server.dry_run(yaml.safe_dump(broker))

    assert "spec.heartbeat" in str(refused.value)
    assert "at least 1s and at most 18h" in str(refused.value)


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
    assert (spec["worker"]["isolation"], spec["worker"]["prefetch"]) == ("Warm", "auto")


def test_a_command_needs_no_handlers(server: Tenant) -> None:
    runs = {"handlers": None, "isolation": "Exec", "command": ["/app/convert", "--fast"]}

    spec = server.dry_run(server.manifest(worker={**runs, "slots": 2, "prefetch": 4}))["spec"]

    assert spec["worker"]["command"] == ["/app/convert", "--fast"]
    assert spec["worker"]["prefetch"] == 4


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "type": (
        {"queue": {"name": "orders", "type": "Classic"}},
        {"queue": {"name": "orders", "type": "Quorum"}},
        ["spec.queue.type", "cannot be changed", "create a new TaskQueue"],
    ),
    "name": (
        {"queue": {"name": "orders"}},
        {"queue": {"name": "invoices"}},
        ["spec.queue", "queue.name cannot be changed", "create a new TaskQueue"],
    ),
    "name added": ({}, {"queue": {"name": "orders"}}, ["queue.name cannot be changed"]),
    "name removed": ({"queue": {"name": "orders"}}, {}, ["queue.name cannot be changed"]),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_cannot_change_is_refused_with_advice(tenant: Tenant, case: str) -> None:
    before, after, words = CHANGED[case]
    tenant.apply(broker={"name": "nowhere"}, **before)

    with pytest.raises(CommandFailed) as refused:
        tenant.apply(broker={"name": "nowhere"}, **after)

    assert [word for word in words if word not in str(refused.value)] == []
