from typing import Any

import pytest

from longshore_operator.adapters.versions import versions_in


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
