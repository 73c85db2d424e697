import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from longshore_operator.api import crdgen
from longshore_operator.api.v1alpha1 import Broker, TaskQueue, TaskQueueSpec

ROOT = Path(__file__).parents[3]
MODELS = (TaskQueue, Broker)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


ALL = [
    pytest.param(path, node, id=f"{model.__name__}{path}")
    for model in MODELS
    for path, node in nodes(crdgen.structural(model))
]
SPECS = [param for param in ALL if str(param.values[0]).startswith(".spec")]


def test_committed_crds_are_those_of_the_models() -> None:
    committed = {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}

    assert committed == crdgen.render()


@pytest.mark.parametrize(("path", "node"), ALL)
def test_every_field_is_structural_and_explained(path: str, node: dict[str, Any]) -> None:
    assert not {"$ref", "anyOf", "oneOf", "const", "title"} & set(node)
    assert "type" in node or node.get("x-kubernetes-int-or-string")
    assert path.endswith("[]") or node["description"]


@pytest.mark.parametrize(("path", "node"), SPECS)
def test_everything_users_write_is_bounded_so_that_cel_costs_are(
    path: str, node: dict[str, Any]
) -> None:
    match node.get("type"):
        case "string":
            assert "maxLength" in node or "enum" in node
        case "array":
            assert "maxItems" in node
        case "integer" | "number":
            assert {"minimum", "maximum"} <= set(node)
        case "object" if "additionalProperties" in node:
            assert "maxProperties" in node


@pytest.mark.parametrize(("path", "node"), SPECS)
def test_every_default_obeys_its_own_schema(path: str, node: dict[str, Any]) -> None:
    default = node.get("default")
    if default is None:
        return
    if "pattern" in node:
        assert re.fullmatch(node["pattern"], default)
    if "enum" in node:
        assert default in node["enum"]
    if "minimum" in node:
        assert node["minimum"] <= default <= node["maximum"]
    if "properties" in node:
        assert set(default) <= set(node["properties"])
        assert set(node.get("required", ())) <= set(default)


def test_only_what_has_no_default_is_required() -> None:
    spec = crdgen.structural(TaskQueueSpec)

    assert spec["required"] == ["timeLimit", "worker"]
    assert spec["properties"]["worker"]["required"] == ["image"]
    assert spec["properties"]["timeLimit"]["required"] == ["hard"]


def test_durations_keep_the_form_that_people_write() -> None:
    spec = crdgen.structural(TaskQueueSpec)["properties"]

    assert spec["deadLetter"]["properties"]["retention"]["default"] == "168h"
    assert spec["retry"]["default"]["maxDelay"] == "1h"


def test_a_union_is_refused_as_no_structural_schema_can_say_it() -> None:
    class Either(BaseModel):
        value: int | list[str]

    with pytest.raises(ValueError, match="union"):
        crdgen.structural(Either)


def test_the_crds_carry_short_name_category_and_status_subresource() -> None:
    task_queue = yaml.safe_load(crdgen.render()["longshore.dev_taskqueues.yaml"])["spec"]

    assert task_queue["names"]["shortNames"] == ["tq"]
    assert task_queue["names"]["categories"] == ["longshore"]
    assert task_queue["versions"][0]["subresources"] == {"status": {}}
    assert yaml.safe_load(crdgen.render()["longshore.dev_brokers.yaml"])["spec"]["scope"] == (
        "Cluster"
    )
