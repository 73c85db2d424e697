from typing import Any

import pytest

from longshore_operator.core.kubernetes.overlay import contains, merged

MERGES: list[tuple[str, Any, Any, Any]] = [
    (
        "mappings are merged",
        {"a": 1, "b": {"c": 2}},
        {"b": {"d": 3}},
        {"a": 1, "b": {"c": 2, "d": 3}},
    ),
    ("null removes", {"a": 1, "b": 2}, {"b": None}, {"a": 1}),
    ("plain lists are replaced", {"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    (
        "lists of named things are merged by name",
        [{"name": "x", "v": 1}, {"name": "y"}],
        [{"name": "x", "w": 2}, {"name": "z"}],
        [{"name": "x", "v": 1, "w": 2}, {"name": "y"}, {"name": "z"}],
    ),
    (
        "ports are one by number and protocol",
        {"ports": [{"name": "http", "containerPort": 9090, "protocol": "TCP"}]},
        {
            "ports": [
                {"containerPort": 9090, "name": "web"},
                {"containerPort": 53, "protocol": "TCP"},
                {"containerPort": 53, "protocol": "UDP"},
            ]
        },
        {
            "ports": [
                {"name": "web", "containerPort": 9090, "protocol": "TCP"},
                {"containerPort": 53, "protocol": "TCP"},
                {"containerPort": 53, "protocol": "UDP"},
            ]
        },
    ),
    (
        "constraints on one topology key that differ in what they do both stay",
        {"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "B", "v": 1}]},
        {
            "topologySpreadConstraints": [
                {"topologyKey": "zone", "whenUnsatisfiable": "A"},
                {"topologyKey": "zone", "whenUnsatisfiable": "B", "w": 2},
            ]
        },
        {
            "topologySpreadConstraints": [
                {"topologyKey": "zone", "whenUnsatisfiable": "B", "v": 1, "w": 2},
                {"topologyKey": "zone", "whenUnsatisfiable": "A"},
            ]
        },
    ),
    (
        "one volume may be mounted twice",
        {"volumeMounts": [{"name": "data", "mountPath": "/in"}]},
        {"volumeMounts": [{"name": "data", "mountPath": "/out"}]},
        {
            "volumeMounts": [
                {"name": "data", "mountPath": "/in"},
                {"name": "data", "mountPath": "/out"},
            ]
        },
    ),
    (
        "of two that share a name none is dropped, so that Kubernetes can refuse them",
        [{"name": "x", "v": 1}],
        [{"name": "x", "v": 2}, {"name": "x", "v": 3}, {"name": "y"}],
        [{"name": "x", "v": 2}, {"name": "x", "v": 3}, {"name": "y"}],
    ),
    ("a list without names is replaced", [{"key": "a"}], [{"key": "b"}], [{"key": "b"}]),
]


@pytest.mark.parametrize(
    ("base", "overlay", "result"), [m[1:] for m in MERGES], ids=[m[0] for m in MERGES]
)
def test_merging(base: Any, overlay: Any, result: Any) -> None:
    assert merged(base, overlay) == result


def test_what_the_api_server_adds_is_no_difference() -> None:
    live = {"spec": {"replicas": 3, "items": [{"name": "x", "defaulted": True}]}}

    assert contains(live, {"spec": {"items": [{"name": "x"}]}})
    assert not contains(live, {"spec": {"items": [{"name": "y"}]}})
    assert not contains(live, {"spec": {"items": [{"name": "x"}, {"name": "y"}]}})
