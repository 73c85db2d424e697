from typing import Any

import pytest

from longshore_operator.adapters.management.answers import understood
from longshore_operator.adapters.management.versions import versions_in
from longshore_operator.errors import Transient


def node(version: str | None, *, running: bool = True) -> dict[str, Any]:
    applications = [{"name": "rabbit", "version": version}, {"name": "cowlib", "version": "2.16.0"}]
    return {"running": running} | ({"applications": applications} if version else {})


@pytest.mark.parametrize(
    ("nodes", "lowest", "silent"),
    [
        ([node("4.3.6")], "4.3.6", 0),
        ([node("4.3.6"), node("4.2.10"), node("4.2.9")], "4.2.9", 0),
        ([node("4.3.6"), node("4.2.10", running=False)], "4.3.6", 0),
        ([node("4.3.6"), node(None)], "4.3.6", 1),
        ([node(None), node(None)], None, 2),
    ],
    ids=["one", "mixed", "stopped", "just started", "statistics off"],
)
def test_a_cluster_can_do_what_its_oldest_running_node_can(
    nodes: list[dict[str, Any]], lowest: str | None, silent: int
) -> None:
    found = versions_in(nodes)

    assert (found.lowest, found.silent) == (lowest, silent)


@pytest.mark.parametrize(
    "answer",
    [{"error": "maintenance"}, ["x"], None, [None], "up", 3]
    + [[{"running": True, "applications": each}] for each in ([{"name": "rabbit"}], [1], 7, "x")],
    ids=str,
)
def test_an_answer_that_lists_no_nodes_is_a_trouble_of_its_own(answer: Any) -> None:
    """As a proxy before the management API may give."""
    with pytest.raises(Transient) as refused, understood("http://rabbit:15672"):
        versions_in(answer)

    assert refused.value.reason == "ManagementFailed"


def test_a_version_with_odd_numbers_is_compared_all_the_same() -> None:
    odd = "9" * 5000

    assert versions_in([node(f"4.{odd}.1"), node("4.3.6")]).lowest == "4.3.6"
