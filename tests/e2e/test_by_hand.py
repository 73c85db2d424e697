"""What somebody changes or deletes by hand is restored, and half a rotation never holds."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pika
import pika.exceptions
import pytest

from dev.errors import CommandFailed
from dev.kube import Kube, wait_for
from dev.management import management
from longshore.contract.names import AMQP_CA_ENV, AMQP_URL_ENV
from tests.e2e.tenant import Tenant
from tests.scheduling import ALONE

WITHIN, SECRETS_WITHIN = 10.0, 60.0
ROLES = ("worker", "producer")


def deployment(tenant: Tenant) -> dict[str, Any]:
    return tenant.kube.get("deployment", "work-worker", f"--namespace={tenant.namespace}")


def pods_of(tenant: Tenant) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(tenant)["spec"]["template"]["spec"]
    return spec


def connects(tenant: Tenant, address: str) -> bool:
    with tenant.outside(address) as url:
        try:
            pika.BlockingConnection(pika.URLParameters(url)).close()
        except pika.exceptions.AMQPError:
            return False
        return True


def took(look: Callable[[], Any], *, since: float) -> float:
    """Seconds from `since` until `look` is true."""
    wait_for("it is back", look, seconds=90)
    return time.monotonic() - since


def told(tenant: Tenant, *words: str, reason: str = "DriftRepaired") -> None:
    def look() -> bool:
        said = " ".join(tenant.events(reason))
        return all(word in said for word in words)

    wait_for(f"Events {reason} that say {words}", look, seconds=20)


def test_a_deployment_a_disruption_budget_and_a_password_are_back_within_ten_seconds(
    tenant: Tenant,
) -> None:
    tenant.apply(scaling={"min": 1})
    tenant.wait_for_condition("WorkersReady", "True")
    here, kubectl = f"--namespace={tenant.namespace}", tenant.kube.kubectl
    budget = ("poddisruptionbudget", "work-worker", here)
    wait_for("the budget", lambda: tenant.kube.get(*budget))
    before, url = pods_of(tenant), tenant.credentials()[AMQP_URL_ENV]

    kubectl("set", "env", "deployment/work-worker", "DEBUG=1", "LONGSHORE_QUEUE=x", here)
    kubectl("set", "image", "deployment/work-worker", "worker=example.invalid/other:1", here)
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "hostPID": True,
                    "containers": [{"name": "extra", "image": "example.invalid/extra:1"}],
                }
            }
        }
    }
    kubectl("patch", "deployment", "work-worker", here, f"--patch={json.dumps(patch)}")
    changed_at = time.monotonic()
    assert took(lambda: pods_of(tenant) == before, since=changed_at) <= WITHIN
    told(tenant, "Deployment work-worker")

    kubectl("delete", *budget)
    with management(tenant.kube, tenant.place) as broker:
        who = f"longshore.{tenant.queue()}.producer"
        broker.put("users", who, password="by-hand", tags="administrator")
    deleted_at = time.monotonic()
    assert not connects(tenant, url)

    def is_back() -> bool:
        try:
            return bool(tenant.kube.get(*budget))
        except CommandFailed:
            return False

    assert took(is_back, since=deleted_at) <= WITHIN
    assert took(lambda: connects(tenant, url), since=deleted_at) <= WITHIN
    told(tenant, "PodDisruptionBudget work-worker", f"user {who}")

    kubectl("delete", "deployment", "work-worker", here, "--wait=false")
    deleted_at = time.monotonic()

    def is_new() -> bool:
        try:
            return pods_of(tenant) == before
        except CommandFailed:
            return False

    assert took(is_new, since=deleted_at) <= WITHIN


def test_a_restart_by_hand_is_not_undone_with_what_is(tenant: Tenant) -> None:
    tenant.declared(scaling={"paused": True})
    here, kubectl = f"--namespace={tenant.namespace}", tenant.kube.kubectl
    wait_for("the Deployment", lambda: deployment(tenant))
    before = pods_of(tenant)

    kubectl("rollout", "restart", "deployment/work-worker", here)
    kubectl("set", "env", "deployment/work-worker", "DEBUG=1", here)
    wait_for("only what it was", lambda: pods_of(tenant) == before)

    annotations = deployment(tenant)["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in annotations


def test_secrets_are_back_within_a_minute_with_the_password_that_they_had(tenant: Tenant) -> None:
    tenant.declared(scaling={"paused": True})
    before = {role: tenant.credentials(role=role) for role in ROLES}
    here, kubectl = f"--namespace={tenant.namespace}", tenant.kube.kubectl

    kubectl("delete", "secret", "work-producer", here)
    metadata = tenant.kube.get("secret", "work-worker", here)["metadata"]
    kept = ("name", "namespace", "labels", "ownerReferences")
    old = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {name: metadata[name] for name in kept},
        "stringData": {AMQP_CA_ENV: "an authority of once", AMQP_URL_ENV: "amqp://by-hand"},
    }
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=longshore")
    kubectl(*words, "--filename=-", given=json.dumps(old))  # as Longshore 0.1.0 did
    changed_at = time.monotonic()

    def are_back() -> bool:
        try:
            return {role: tenant.secret(f"work-{role}") for role in ROLES} == before
        except CommandFailed:
            return False

    assert took(are_back, since=changed_at) <= SECRETS_WITHIN
    told(tenant, "Secret work-producer", "Secret work-worker")
    assert tenant.events("PasswordRenewed") == []


@contextmanager
def frozen(kube: Kube, tenant: Tenant) -> Iterator[None]:
    """No Secret of the tenant may be changed, by order of an admission policy."""
    name = tenant.namespace
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["secrets"],
    }
    kind, version = "ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1"
    policy = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {**here, "resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "Secrets are frozen"}],
        },
    }
    binding = {
        "apiVersion": version,
        "kind": f"{kind}Binding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here},
    }
    try:
        kube.apply(json.dumps(policy))
        kube.apply(json.dumps(binding))

        def holds() -> bool:
            words = ("annotate", "secret", "work-producer", "is=frozen", "--overwrite")
            try:
                kube.kubectl(*words, f"--namespace={tenant.namespace}", "--dry-run=server")
            except CommandFailed as error:
                return "Secrets are frozen" in str(error)
            return False

        wait_for("the policy holds", holds, seconds=30)
        yield
    finally:
        kube.kubectl("delete", kind, name, "--ignore-not-found")
        kube.kubectl("delete", f"{kind}Binding", name, "--ignore-not-found")


def test_a_rotation_waits_until_secrets_may_be_written(kube: Kube, tenant: Tenant) -> None:
    tenant.declared(scaling={"paused": True})
    old = {role: tenant.credentials(role=role)[AMQP_URL_ENV] for role in ROLES}
    here, rotate = f"--namespace={tenant.namespace}", "longshore.dev/rotate-credentials"

    with frozen(kube, tenant):
        kube.kubectl("annotate", "tq", "work", f"{rotate}=1", here)
        found = tenant.wait_for_condition("QueueDeclared", "False", reason="RefusedByKubernetes")
        assert "Secrets are frozen" in found["message"]
        for role in ROLES:
            assert connects(tenant, old[role])

    def is_rotated() -> bool:
        return all(tenant.secret(f"work-{role}")[AMQP_URL_ENV] != old[role] for role in ROLES)

    wait_for("the rotation, with its next attempt", is_rotated, seconds=90)
    tenant.wait_for_condition("QueueDeclared", "True")
    for role in ROLES:
        assert connects(tenant, tenant.secret(f"work-{role}")[AMQP_URL_ENV])
        assert not connects(tenant, old[role])


@pytest.mark.xdist_group(ALONE)
def test_a_lost_password_is_made_anew_and_said_so(kube: Kube, tenant: Tenant) -> None:
    tenant.declared(scaling={"paused": True})
    old = {role: tenant.credentials(role=role)[AMQP_URL_ENV] for role in ROLES}
    names = [f"work-{role}" for role in ROLES]
    operator = ("deployment/longshore", "--namespace=longshore-system")
    try:
        kube.kubectl("scale", *operator, "--replicas=0")
        # Until it is gone, it would restore the Secrets with the passwords that it knows.
        pods = ("pod", "--selector=app.kubernetes.io/component=operator", operator[1])
        kube.kubectl("wait", "--for=delete", *pods, "--timeout=60s")
        kube.kubectl("delete", "secret", *names, f"--namespace={tenant.namespace}")
    finally:
        kube.kubectl("scale", *operator, "--replicas=1")
    kube.kubectl("rollout", "status", *operator, "--timeout=60s")

    for role in ROLES:
        new = tenant.credentials(role=role)[AMQP_URL_ENV]
        assert new != old[role]
        wait_for("RabbitMQ takes it", partial(connects, tenant, new), seconds=30)
    told(tenant, *(f"Secret {name}" for name in names), reason="PasswordRenewed")
