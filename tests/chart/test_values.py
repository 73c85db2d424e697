"""Values of the chart: what becomes of any text, any absence, and any number out of range."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from longshore.contract.durations import parse_duration
from longshore_operator.api import crdgen
from longshore_operator.errors import Invalid
from longshore_operator.settings import Settings
from tests.chart.conftest import CHARTS, KUBE_VERSION, Rendered

Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., Rendered]
Schema = Mapping[str, Any]
Where = tuple[str | int, ...]
"""Keys and indexes that lead to a part of a document."""

SCHEMA: Schema = json.loads((CHARTS / "longshore/values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHARTS / "longshore/values.yaml").read_text())
OWN = "broker.secret.name=rabbitmq-admin"
TRIAL = "rabbitmq.enabled=true,rabbitmq.password=of-the-trial"

AMBIGUOUS = [
    "123", "0x1f", "0o17", "1e5", "1.5", "1_000", ".inf", "true", "yes", "null", "~", "2026-01-01",
    "12:30:45", "10s", "fd00::", "[fd00::1]", "{a: b}", "*a", "&a", "!a", "%a", "@a", "`a`", "-",
    "?", "|", ">", ",", "#", "a:", "a: b", "a:b", "a #b", "- a", " a", "a,b", "'a'", '"a"', "\\",
    "http://[fd00::1]:15672/#a",
]  # fmt: skip
"""Texts that YAML without quotes reads as something else, or not at all."""


@dataclass(frozen=True)
class Text:
    """A value that may be any text, as far as `fits` goes."""

    where: Where
    fits: Callable[[str], bool]

    def __str__(self) -> str:
        return ".".join(map(str, self.where))


def _texts(schema: Schema, where: Where = ()) -> Iterator[Text]:
    """Each text in the chart's values. Where a map is open, one under the key `key`."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if "string" in types:
        longest = schema.get("maxLength", 1000)
        pattern = schema.get("pattern", "")
        yield Text(where, lambda text: len(text) <= longest and bool(re.search(pattern, text)))
    if "array" in types:
        yield from _texts(schema["items"], (*where, 0))
    if "object" in types and where != ("global",):
        more = schema.get("additionalProperties", {"type": "string"})
        named = schema.get("properties") or ({"key": more} if more else {})
        for name, inner in named.items():
            yield from _texts(inner, (*where, name))


TEXTS = list(_texts(SCHEMA))


def _put(document: dict[str, Any], where: Where, value: object) -> dict[str, Any]:
    """Set what is at `where` in `document`, making what leads there."""
    place: Any = document
    for here, following in zip(where, (*where[1:], None), strict=True):
        inner = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(here, int):
            if len(place) <= here:
                place.append(inner)
        elif following is None:
            place[here] = inner
        else:
            place.setdefault(here, inner)
        place = place[here]
    return document


def _leaves(document: object, where: Where = ()) -> Iterator[tuple[Where, object]]:
    if isinstance(document, dict) and document:
        for key, value in document.items():
            yield from _leaves(value, (*where, key))
    elif isinstance(document, list) and document:
        for index, value in enumerate(document):
            yield from _leaves(value, (*where, index))
    else:
        yield where, document


def _values(choose: Callable[[int, Text], str], without: str) -> dict[str, Any]:
    """Values with all on, and each text but `without` as `choose` has it."""
    values: dict[str, Any] = {
        "networkPolicy": {"enabled": True},
        "rabbitmq": {"enabled": True, "persistence": {"enabled": True}},
        "broker": {"allowedNamespaces": {"matchExpressions": [{"operator": "In"}]}},
    }
    for index, text in enumerate(TEXTS):
        if str(text) != without:
            _put(values, text.where, choose(index, text))
    return values


def _marker(index: int, text: Text) -> str:
    forms = (f"marker{index}m", f"http://marker{index}m", f"{index + 1000}ms")
    return next(form for form in forms if text.fits(form))


@pytest.mark.parametrize("without", ["rabbitmq.existingSecret", "rabbitmq.password"])
def test_any_text_that_the_schema_takes_is_text_where_it_arrives(
    render: Render, without: str
) -> None:
    expected = dict(_leaves(render(file=_values(_marker, without)).objects))
    markers = {str(text): _marker(index, text) for index, text in enumerate(TEXTS)}
    assert not [
        name
        for name, marker in markers.items()
        if name not in (without, "rabbitmq.password")  # a password arrives in base64
        and not [leaf for leaf in expected.values() if marker in str(leaf)]
    ], "a value that changes nothing"

    for turn in range(len(AMBIGUOUS)):

        def choose(index: int, text: Text, turn: int = turn) -> str:
            fitting = [each for each in AMBIGUOUS if text.fits(each)]
            return fitting[(turn + index) % len(fitting)]

        chosen = {markers[str(text)]: choose(index, text) for index, text in enumerate(TEXTS)}
        found = dict(_leaves(render(file=_values(choose, without)).objects))

        assert found.keys() == expected.keys()
        for where, leaf in expected.items():
            assert type(found[where]) is type(leaf), where
            if isinstance(leaf, str) and any(marker in leaf for marker in chosen):
                assert found[where] == _replaced(leaf, chosen), where


@pytest.mark.parametrize(
    ("release", "namespace"),
    [("123", "456"), ("true", "null"), ("1e5", "0"), ("1.5", "1e3"), ("null", "true")],
)
def test_names_of_release_and_namespace_are_text_everywhere(
    render: Render, release: str, namespace: str
) -> None:
    values = {"networkPolicy": {"enabled": True}}
    expected = dict(_leaves(render(TRIAL, file=values).objects))

    found = dict(_leaves(render(TRIAL, file=values, release=release, namespace=namespace).objects))

    assert {where: type(leaf) for where, leaf in found.items()} == {
        where: type(leaf) for where, leaf in expected.items()
    }
    for where, leaf in expected.items():
        if where[-1] == "namespace":
            assert (leaf, found[where]) == ("longshore-system", namespace)
        if where[-1] == "app.kubernetes.io/instance":
            assert (leaf, found[where]) == ("longshore", release)


@pytest.mark.parametrize("release", ["one", "123", "a.b", "x" * 53, "0." * 26 + "0", "longshore"])
def test_any_name_of_a_release_makes_names_that_kubernetes_takes(
    render: Render, release: str
) -> None:
    for each in render(TRIAL, release=release).objects:
        name = each["metadata"]["name"]
        if "namespace" in each["metadata"]:  # a Service's are the narrowest, but in length
            assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
            assert len(name) <= (52 if each["kind"] == "StatefulSet" else 63)
        else:
            assert re.fullmatch("[-:a-z0-9]+", name)


def test_long_names_of_releases_that_end_differently_share_no_object(render: Render) -> None:
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in render(TRIAL, release=name).objects}
        for name in ("x" * 52 + "a", "x" * 52 + "b")
    )

    assert first & second == {("Broker", "default")}


def test_one_name_of_a_release_in_two_namespaces_shares_no_object(render: Render) -> None:
    first, second = (
        {
            (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
            for each in render(TRIAL, release=release, namespace=namespace).objects
        }
        for release, namespace in (("jobs", "team"), ("jobs", "team-jobs"))
    )

    assert first & second == {("Broker", None, "default")}


def test_rights_are_bound_to_the_account_of_their_own_release(render: Render) -> None:
    rendered = render(OWN, release="jobs", namespace="team")
    binding = rendered.one("ClusterRoleBinding")

    assert rendered.one("ClusterRole", name=binding["roleRef"]["name"])
    account = rendered.one("ServiceAccount")["metadata"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])
    pod = rendered.one("Deployment")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["name"]


def _defaults(values: Mapping[str, Any], where: Where = ()) -> Iterator[tuple[Where, object]]:
    """Each value and section with its default, resources aside."""
    for name, value in values.items():
        if name != "resources":
            yield (*where, name), value
            yield from _defaults(value if isinstance(value, dict) else {}, (*where, name))


def _may_be_null(default: object) -> bool:
    return not default and not isinstance(default, bool)


@pytest.mark.parametrize(
    "needed",
    [
        OWN,
        "rabbitmq.enabled=true,rabbitmq.existingSecret=mine,rabbitmq.persistence.enabled=true",
    ],
)
def test_null_is_the_default_where_that_is_empty(render: Render, needed: str) -> None:
    nulls: dict[str, Any] = {}
    for where, default in _defaults(DEFAULTS):
        if _may_be_null(default):
            _put(nulls, where, None)

    assert render(needed, file=nulls).objects == render(needed).objects


@pytest.mark.parametrize(
    "name",
    [".".join(map(str, where)) for where, each in _defaults(DEFAULTS) if not _may_be_null(each)],
)
def test_null_is_refused_by_name_where_a_value_is_needed(helm: Helm, name: str) -> None:
    done = _template(helm, f"{name}=null")

    assert done.returncode != 0
    assert "schema" in done.stderr
    assert name.split(".")[-1] in done.stderr


def test_null_takes_requests_and_limits_away(render: Render) -> None:
    rendered = render(
        TRIAL,
        "resources=null",
        "rabbitmq.resources.limits=null",
        "rabbitmq.resources.requests.cpu=null",
    )

    found = [
        rendered.one(kind)["spec"]["template"]["spec"]["containers"][0].get("resources")
        for kind in ("Deployment", "StatefulSet")
    ]
    assert found == [None, {"requests": {"memory": "256Mi"}}]


@pytest.mark.parametrize(
    "tick",
    ["0s", "50ms", "99.9ms", "100ms", "0.1s", "0.5m", "1m", "60s1ms", "0.02h", "5m"],
)  # fmt: skip
def test_the_chart_takes_the_ticks_that_the_operator_takes(helm: Helm, tick: str) -> None:
    try:
        taken = bool(Settings.read({"LONGSHORE_TICK": tick}))
    except Invalid:
        taken = False

    done = _template(helm, f"tick={tick}")

    assert (done.returncode == 0) is taken, done.stderr
    if not taken:
        assert f"tick is {tick}: it must be from 100ms to 60s" in done.stderr


@pytest.mark.parametrize("heartbeat", ["0s", "1ms", "999ms", "1s", "17h59m60s", "18h1ms", "20h"])
def test_the_chart_takes_the_heartbeats_that_the_definition_takes(
    helm: Helm, heartbeat: str
) -> None:
    (rule,) = _broker_schema()["heartbeat"]["x-kubernetes-validations"]
    least, most = map(parse_duration, re.findall(r"duration\('(\w+)'\)", rule["rule"]))

    done = _template(helm, f"broker.heartbeat={heartbeat}")

    assert (done.returncode == 0) is (least <= parse_duration(heartbeat) <= most), done.stderr
    if done.returncode:
        assert f"broker.heartbeat is {heartbeat}: it must be from 1s to 18h" in done.stderr


def test_the_operator_reads_the_settings_that_the_chart_writes(render: Render) -> None:
    rendered = render(OWN, "budgets.gpu=8,budgets.123=0", "logLevel=warning", "tick=250ms")
    (container,) = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}

    settings = Settings.read(environment)

    assert settings.budgets == {"gpu": 8, "123": 0}
    assert (settings.log_level, settings.tick) == ("warning", 0.25)
    assert environment.keys() <= {f"LONGSHORE_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("host",), "host"),
        (("port",), "port"),
        (("managementURL",), "managementURL"),
        (("tls",), "tls"),
        (("vhost",), "vhost"),
        (("allowedNamespaces",), "allowedNamespaces"),
        (("heartbeat",), "heartbeat"),
        (("secretRef", "properties", "name"), "secret.name"),
        (("secretRef", "properties", "namespace"), "secret.namespace"),
    ],
)
def test_the_chart_lets_nothing_through_that_the_definition_of_brokers_refuses(
    field: tuple[str, ...], value: str
) -> None:
    definition: Any = _broker_schema()
    for key in field:
        definition = definition[key]
    own: Any = SCHEMA["properties"]["broker"]
    for key in value.split("."):
        own = own["properties"][key]

    assert list(_laxer(own, definition)) == []


def _laxer(own: Schema, definition: Schema, where: Where = ()) -> Iterator[str]:
    """Bounds that `definition` has and `own` lacks. Empty text and 0 are the chart's for none."""
    for bound in ("maxLength", "maximum", "maxItems", "maxProperties", "enum"):
        if bound in definition and own.get(bound) != definition[bound]:
            yield f"{where}: {bound} {own.get(bound)}, not {definition[bound]}"
    if "pattern" in definition:
        pattern = own.get("pattern", "")
        for text in (*AMBIGUOUS, "A", "a_b", "-a", "a-", "a.b", "ftp://a", "https://"):
            if re.search(pattern, text) and not re.search(definition["pattern"], text):
                yield f"{where}: {text}"
    empty = not own.get("minLength") and re.search(own.get("pattern", ""), "")
    if where and "minLength" in definition and empty:
        yield f"{where}: empty text"
    for name in {*definition.get("required", [])} - {*own.get("required", [])}:
        yield f"{where}: {name} may be left out"
    for name, inner in definition.get("properties", {}).items():
        yield from _laxer(own["properties"][name], inner, (*where, name))
    for inner in ("items", "additionalProperties"):
        if isinstance(definition.get(inner), dict):
            yield from _laxer(own[inner], definition[inner], (*where, inner))


def test_a_budget_has_a_name_that_a_task_queue_can_write(helm: Helm) -> None:
    assert _template(helm, f"budgets.{'g' * 63}=1").returncode == 0

    done = _template(helm, f"budgets.{'g' * 64}=1")

    assert done.returncode != 0
    assert "63" in done.stderr


def test_a_broker_never_points_to_a_secret_that_nobody_makes(helm: Helm, render: Render) -> None:
    done = _template(helm, TRIAL, "broker.secret.name=", "broker.secret.namespace=other")

    assert done.returncode != 0
    for word in ("broker.secret.namespace is other", "broker.secret.name", "rabbitmq.enabled"):
        assert word in done.stderr
    for namespace in ("longshore-system", ""):
        broker = render(TRIAL, f"broker.secret.namespace={namespace}").one("Broker")
        assert broker["spec"]["secretRef"]["namespace"] == "longshore-system"


def _template(helm: Helm, *values: str) -> subprocess.CompletedProcess[str]:
    words = [word for value in (OWN, *values) for word in ("--set", value)]
    return helm("template", "longshore", CHARTS / "longshore", KUBE_VERSION, *words)


def _broker_schema() -> Any:
    """The schema of a Broker's spec, field by field."""
    text = next(text for name, text in crdgen.render().items() if "brokers" in name)
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    pattern = "|".join(map(re.escape, replacements))
    return re.sub(pattern, lambda match: replacements[match[0]], text)
