"""One word for one concept: what `docs/glossary.md` promises, kept by the code."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

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
        "longshore.worker.parent.broker.publisher",
    },
    # `raise Retry` and `spec.retry`: users write both, each where the other cannot stand.
    "Retry": {"longshore.errors", "longshore_operator.api.v1alpha1.task_queue"},
    # `status.workers`, and what brings a TaskQueue's workers to the number that was decided.
    "Workers": {
        "longshore_operator.api.v1alpha1.task_queue",
        "longshore_operator.app.scaling.execution",
    },
    # What one pool of children keeps to, and what all TaskQueues together do.
    "Limits": {"longshore.worker.parent.children.pool", "longshore_operator.app.scaling.limits"},
}
"""Class names that stand in two modules, and why that is well."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *inside)).removesuffix(".__init__")
            yield name, ast.parse(path.read_text())


def test_a_class_name_means_one_thing() -> None:
    homes = defaultdict[str, set[str]](set)
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(module)

    assert {name: found for name, found in homes.items() if len(found) > 1} == TWICE
