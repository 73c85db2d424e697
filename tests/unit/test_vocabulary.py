"""One word for one concept: what `docs/glossary.md` promises, kept by the code."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "longshore": ROOT / "worker_image/longshore",
    "longshore_operator": ROOT / "operator/longshore_operator",
}

TWICE = {
    # A port of the app, and the adapter that it is met by.
    "Cluster": {
        "longshore_operator.app.ports.kubernetes",
        "longshore_operator.adapters.kubernetes.cluster",
    },
    "Depths": {
        "longshore_operator.app.ports.rabbitmq",
        "longshore_operator.adapters.rabbitmq.depths",
    },
    "JobPublisher": {
        "longshore_operator.adapters.rabbitmq.jobs",
        "longshore_operator.app.ports.rabbitmq",
    },
    "Fleet": {
        "longshore_operator.app.ports.rabbitmq",
        "longshore_operator.adapters.rabbitmq.fleet",
    },
    "Management": {
        "longshore_operator.app.ports.rabbitmq",
        "longshore_operator.adapters.management.api",
    },
    "Scrutiny": {
        "longshore_operator.app.ports.rabbitmq",
        "longshore_operator.adapters.rabbitmq.scrutiny",
    },
    "Publisher": {
        "longshore.worker.parent.jobs.outgoing",
        "longshore.amqp.publisher",
    },
    # `raise Retry` and `spec.retry`: users write both, each where the other cannot stand.
    "Retry": {"longshore.errors", "longshore_operator.api.v1alpha1.task_queue"},
}
"""Class names that stand in two modules, and why that is well."""

FUNCTIONS_TWICE = {
    # What a process begins with.
    "main": {
        "longshore.cli",
        "longshore.worker.__main__",
        "longshore.worker.child.run",
        "longshore.worker.child.zygote",
        "longshore_operator.__main__",
    },
    "run": {"longshore.worker.parent.main", "longshore_operator.run"},
    # Called with their modules' names: `foreign.read`, `plain.read`.
    "read": {"longshore.contract.foreign", "longshore.worker.parent.jobs.plain"},
}
"""The same of functions."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *inside)).removesuffix(".__init__")
            yield name, ast.parse(path.read_text())


@cache
def classes() -> Mapping[str, set[str]]:
    """The modules that define each public class, by its name."""
    return _homes(
        (node.name, module)
        for module, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )


def functions() -> Mapping[str, set[str]]:
    """The modules that define each public function, by its name."""
    return _homes(
        (node.name, module)
        for module, tree in modules()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _homes(names: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    homes = defaultdict[str, set[str]](set)
    for name, module in names:
        if not name.startswith("_"):
            homes[name].add(module)
    return homes


def test_a_class_name_means_one_thing() -> None:
    assert {name: found for name, found in classes().items() if len(found) > 1} == TWICE


def test_a_function_name_means_one_thing() -> None:
    assert {name: found for name, found in functions().items() if len(found) > 1} == FUNCTIONS_TWICE


def stands_as() -> Iterator[tuple[str, str]]:
    """Each word of the glossary with each name that it says the word stands as."""
    for line in (ROOT / "docs/glossary.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| word ", "| --- ")):
            _, word, _, names, _ = re.split(r"\s*\|\s*", line)
            yield from ((word, name) for name in re.findall(r"`([^`]+)`", names))


@cache
def schemas() -> tuple[dict[str, Any], ...]:
    return tuple(
        version["schema"]["openAPIV3Schema"]
        for path in (ROOT / "crds").glob("*.yaml")
        for version in yaml.safe_load(path.read_text())["spec"]["versions"]
    )


def _is_field(name: str) -> bool:
    return any(_has(schema, name.split(".")) for schema in schemas())


def _has(schema: dict[str, Any], path: list[str]) -> bool:
    return not path or any(
        _has(inner["properties"][path[0]], path[1:])
        for inner in (schema, schema.get("items", {}))
        if path[0] in inner.get("properties", {})
    )


def _is_metric(name: str) -> bool:
    return f"`{name}" in (ROOT / "docs/metrics.md").read_text()


@pytest.mark.parametrize(("word", "name"), [*stands_as()])
def test_a_word_of_the_glossary_stands_as_it_says(word: str, name: str) -> None:
    if "/" in name:
        assert any((folder / name).exists() for folder in PACKAGES.values())
    elif name.startswith(("spec.", "status.")):
        assert _is_field(name)
    elif name.startswith("longshore_"):
        assert _is_metric(name)
    else:
        assert name in classes()


def test_the_glossary_has_each_word_once() -> None:
    rows = re.findall(r"^\| (?!word|---)([^|]+?) \|", (ROOT / "docs/glossary.md").read_text(), re.M)
    assert [word for word in rows if rows.count(word) > 1] == []
