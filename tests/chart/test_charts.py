"""The charts, rendered by helm."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev import paths
from longshore_operator.api import crdgen
from longshore_operator.api.v1alpha1 import BrokerSpec
from tests.chart.conftest import CHARTS, KUBE_VERSION, Rendered

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., Rendered]

TRIAL = "rabbitmq.enabled=true,rabbitmq.password=of-the-trial"
OWN = "broker.secret.name=rabbitmq-admin"


@pytest.mark.parametrize("chart", ["longshore", "longshore-crds"])
def test_helm_finds_nothing_to_complain_about(helm: Helm, chart: str) -> None:
    done = helm("lint", "--strict", CHARTS / chart, KUBE_VERSION)

    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("chart", ["longshore", "longshore-crds"])
def test_chart_and_distribution_have_one_version(chart: str) -> None:
    project = tomllib.loads((paths.REPO / "pyproject.toml").read_text())["project"]
    described = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())

    assert described["version"] == described["appVersion"] == project["version"]


def test_the_definitions_are_those_of_the_models_and_are_kept(render: Render) -> None:
    rendered = render(chart="longshore-crds").objects

    for each in rendered:
        assert each["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    generated = [yaml.safe_load(text) for text in crdgen.render().values()]
    assert _by_name(rendered) == _by_name(generated)


def test_the_copies_in_the_chart_have_not_drifted() -> None:
    copies = {path.name: path.read_text() for path in (CHARTS / "longshore-crds/files").iterdir()}

    assert copies == crdgen.render(), "run: longshore crds --output charts/longshore-crds/files"


def test_there_is_one_operator_and_never_two(render: Render) -> None:
    spec = render(OWN).one("Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 30
    assert pod["containers"][0]["livenessProbe"]["httpGet"]["path"] == "/healthz"


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_pods_keep_to_the_restricted_standard(render: Render, kind: str) -> None:
    pod = render(TRIAL).one(kind)["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]


def test_the_operator_has_the_rights_it_needs_and_no_more(render: Render) -> None:
    rules = render(OWN).one("ClusterRole", name="longshore-system:longshore")["rules"]
    verbs = {
        (group, resource): rule["verbs"]
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }

    assert verbs["", "secrets"] == ["get", "create", "patch"], "see ADR 9"
    assert not [key for key, allowed in verbs.items() if "delete" in allowed or "*" in allowed]
    assert not [key for key in verbs if "*" in key]


def test_users_who_may_view_or_edit_may_do_so_with_task_queues(render: Render) -> None:
    rendered = render(OWN)
    edit = rendered.one("ClusterRole", name="longshore-system:longshore:edit")
    view = rendered.one("ClusterRole", name="longshore-system:longshore:view")

    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert view["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert view["rules"][0]["verbs"] == ["get", "list", "watch"]
    unshared = render(OWN, "rbac.aggregateToDefaultRoles=false")
    assert "rbac.authorization.k8s.io/aggregate-to" not in str(unshared.objects)


def test_a_trial_brings_rabbitmq_and_a_broker_that_leads_there(render: Render) -> None:
    rendered = render(TRIAL, "rabbitmq.image=localhost/rabbitmq:1", "broker.heartbeat=10s")

    broker = rendered.one("Broker")
    assert broker["metadata"]["name"] == "default"
    assert broker["spec"] == {
        "host": "longshore-rabbitmq.longshore-system.svc",
        "secretRef": {"name": "longshore-rabbitmq", "namespace": "longshore-system"},
        "vhost": "longshore",
        "heartbeat": "10s",
    }
    assert rendered.one("Service", name="longshore-rabbitmq")
    secret = rendered.one("Secret")
    assert secret["metadata"]["name"] == "longshore-rabbitmq"
    values = {key: b64decode(value).decode() for key, value in secret["data"].items()}
    assert values == {"username": "longshore", "password": "of-the-trial"}
    stateful = rendered.one("StatefulSet")["spec"]["template"]["spec"]
    assert stateful["containers"][0]["image"] == "localhost/rabbitmq:1"


def test_the_broker_has_the_form_that_the_operator_reads(render: Render) -> None:
    BrokerSpec.model_validate(render(TRIAL).one("Broker")["spec"], extra="forbid")


def test_ones_own_rabbitmq_is_all_that_is_used(render: Render) -> None:
    rendered = render(
        OWN,
        "broker.secret.namespace=mq",
        "broker.host=mq.example.internal",
        "broker.port=5671",
        "broker.managementURL=https://mq.example.internal",
    )

    assert rendered.one("Broker")["spec"] == {
        "host": "mq.example.internal",
        "port": 5671,
        "managementURL": "https://mq.example.internal",
        "secretRef": {"name": "rabbitmq-admin", "namespace": "mq"},
        "vhost": "longshore",
        "heartbeat": "30s",
    }
    assert not {"StatefulSet", "Secret"} & set(rendered.kinds())
    assert "longshore-rabbitmq" not in str(rendered.objects)


def test_the_service_leads_to_the_operators_port_for_explain(render: Render) -> None:
    rendered = render(OWN)
    service = rendered.one("Service")["spec"]
    pod = rendered.one("Deployment")["spec"]["template"]

    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    (port,) = service["ports"]
    assert ports[port["targetPort"]] == port["port"] == 8081
    assert {"name": "LONGSHORE_HTTP_PORT", "value": "8081"} in container["env"]


def test_tls_and_who_may_use_it_are_passed_on(render: Render) -> None:
    rendered = render(
        OWN,
        "broker.tls.caSecretRef.name=ca",
        "broker.tls.caSecretRef.namespace=mq",
        "broker.createVhost=false",
        "broker.allowedNamespaces.matchLabels.team=media",
    )

    spec = rendered.one("Broker")["spec"]
    BrokerSpec.model_validate(spec, extra="forbid")
    assert spec["tls"] == {"caSecretRef": {"name": "ca", "namespace": "mq"}}
    assert spec["createVhost"] is False
    assert spec["allowedNamespaces"] == {"matchLabels": {"team": "media"}}


def test_no_broker_is_made_when_none_is_wanted(render: Render) -> None:
    assert "Broker" not in render("broker.create=false").kinds()


def test_persistence_keeps_the_volume_and_the_password_in_it(render: Render) -> None:
    rendered = render(TRIAL, "rabbitmq.persistence.enabled=true")

    assert rendered.one("StatefulSet")["spec"]["volumeClaimTemplates"]
    annotations = rendered.one("Secret")["metadata"]["annotations"]
    assert annotations == {"helm.sh/resource-policy": "keep"}


VALUES = {
    "your own RabbitMQ": [OWN],
    "trial": [TRIAL],
    "trial that keeps its data": [TRIAL, "rabbitmq.persistence.enabled=true"],
    "trial with your own Secret": ["rabbitmq.enabled=true", "rabbitmq.existingSecret=mine"],
    "all else": [OWN, "networkPolicy.enabled=true", "budgets.gpu=8", "priorityClassName=high"],
}


@pytest.mark.parametrize("case", VALUES)
def test_the_same_values_give_the_same_objects_without_a_cluster(render: Render, case: str) -> None:
    assert render(*VALUES[case]).objects == render(*VALUES[case]).objects


def test_a_password_by_chance_is_refused_where_it_could_not_be_kept(helm: Helm) -> None:
    done = helm("template", CHARTS / "longshore", KUBE_VERSION, "--set", "rabbitmq.enabled=true")

    assert done.returncode != 0
    assert "rabbitmq.password" in done.stderr
    assert "rabbitmq.existingSecret" in done.stderr


def test_nothing_in_the_charts_comes_by_chance_or_by_time() -> None:
    templates = [path for path in CHARTS.rglob("templates/*") if path.is_file()]
    found = {
        (path.name, word)
        for path in templates
        for word in re.findall(
            r"\b(?:lookup|now|date|rand\w+|gen\w+|uuidv4|htpasswd|bcrypt|derivePassword)\b",
            re.sub(r"\{\{- /\*.*?\*/\}\}", "", path.read_text(), flags=re.DOTALL),
        )
    }

    assert found == {("rabbitmq.yaml", "lookup"), ("rabbitmq.yaml", "randAlphaNum")}


def test_a_secret_of_ones_own_is_used_by_rabbitmq_and_broker(render: Render) -> None:
    rendered = render("rabbitmq.enabled=true", "rabbitmq.existingSecret=mine")

    assert "Secret" not in rendered.kinds()
    container = rendered.one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    assert {each["valueFrom"]["secretKeyRef"]["name"] for each in container["env"]} == {"mine"}
    reference = rendered.one("Broker")["spec"]["secretRef"]
    assert reference == {"name": "mine", "namespace": "longshore-system"}


def test_an_upgrade_of_the_chart_alone_does_not_restart_rabbitmq(
    render: Render, tmp_path: Path
) -> None:
    newer = tmp_path / "longshore"
    shutil.copytree(CHARTS / "longshore", newer)
    described = yaml.safe_load((newer / "Chart.yaml").read_text())
    (newer / "Chart.yaml").write_text(
        yaml.safe_dump(described | {"version": "9.9.9", "appVersion": "9.9.9"})
    )

    before, after = render(TRIAL), render(TRIAL, chart=str(newer))

    assert before.one("StatefulSet")["metadata"] != after.one("StatefulSet")["metadata"]
    assert before.one("StatefulSet")["spec"] == after.one("StatefulSet")["spec"]


def test_a_network_policy_lets_only_the_named_reach_names_and_depths(render: Render) -> None:
    assert "NetworkPolicy" not in render(OWN).kinds()
    rendered = render(
        OWN,
        "networkPolicy.enabled=true",
        "networkPolicy.from[0].namespaceSelector.matchLabels.team=monitoring",
    )

    policy = rendered.one("NetworkPolicy")["spec"]
    pod = rendered.one("Deployment")["spec"]["template"]
    labels = policy["podSelector"]["matchLabels"]
    assert labels.items() <= pod["metadata"]["labels"].items()
    assert (
        not labels.items()
        <= render(TRIAL).one("StatefulSet")["spec"]["template"]["metadata"]["labels"].items()
    )
    probes, named = policy["ingress"]
    assert probes == {"ports": [{"port": "liveness", "protocol": "TCP"}]}
    assert named == {
        "from": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
        "ports": [{"port": "http", "protocol": "TCP"}],
    }
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert ports == {"liveness", "http"}


def test_two_releases_of_different_names_share_no_object(render: Render) -> None:
    def names(rendered: Rendered) -> set[tuple[str, Any]]:
        return {(each["kind"], each["metadata"]["name"]) for each in rendered.objects}

    shared = names(render(TRIAL, release="one")) & names(render(TRIAL, release="two"))

    assert shared == {("Broker", "default")}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("replicas=2", ["replicas"]),
        ("rabbitmq.enable=true", ["rabbitmq", "enable"]),
        ("broker.heartbeat=soon", ["heartbeat"]),
        ("broker.port=99999", ["port"]),
        ("logLevel=loud", ["logLevel"]),
        ("rabbitmq.enabled=yes", ["rabbitmq", "enabled"]),
    ],
)
def test_a_value_that_means_nothing_is_refused(helm: Helm, value: str, words: list[str]) -> None:
    done = helm(
        "template",
        CHARTS / "longshore",
        KUBE_VERSION,
        "--set",
        OWN,
        "--set",
        value,
    )

    assert done.returncode != 0
    assert [word for word in words if word not in done.stderr] == []


def test_a_missing_secret_is_named_with_the_ways_out(helm: Helm) -> None:
    done = helm("template", CHARTS / "longshore", KUBE_VERSION)

    assert done.returncode != 0
    for way_out in ("broker.secret.name", "rabbitmq.enabled=true", "broker.create=false"):
        assert way_out in done.stderr


def _by_name(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["metadata"]["name"]: each for each in objects}
