from typing import Any

import pytest

from longshore_operator.adapters.management.listings import state_in
from longshore_operator.core.rabbitmq.inventory import Inventory

NODES = ["a", "b", "c"]


def listed(**parts: Any) -> dict[str, Any]:
    return {"name": "q", "type": "quorum", "durable": True, "state": "running", **parts}


@pytest.mark.parametrize(
    ("queue", "answers"),
    [
        (listed(members=NODES, online=NODES), True),
        (listed(members=NODES, online=NODES[:2]), True),
        # 4.0.5 calls it "running" all the same where it lists totals.
        (listed(members=NODES, online=NODES[:1]), False),
        (listed(members=NODES[:2], online=NODES[:1]), False),
        (listed(members=NODES, online=[], state="minority"), False),
        (listed(type="classic"), True),
        (listed(type="classic", state="down"), False),
    ],
)
def test_a_queue_answers_while_most_of_its_members_are_there(
    queue: dict[str, Any], answers: bool
) -> None:
    assert Inventory(states={"q": state_in(queue)}).answers("q") is answers


def test_a_queue_that_was_not_read_is_not_known_to_be_silent() -> None:
    assert Inventory().answers("q")
