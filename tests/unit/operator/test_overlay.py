from typing import Any

import pytest

from longshore_operator.core.overlay import contains, merged

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
