from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore_operator.app.watched.objects import deployment
from longshore_operator.core.kubernetes.rollout import Rollout, rollout, rollout_in


@pytest.mark.parametrize(
    ("replicas", "ceiling", "wanted"),
    [
        pytest.param(8, 10, Rollout(surge=2, unavailable=0), id="a quarter fits"),
        pytest.param(9, 20, Rollout(surge=3, unavailable=0), id="a quarter, rounded up"),
        pytest.param(8, 9, Rollout(surge=1, unavailable=0), id="as many as fit"),
        pytest.param(10, 10, Rollout(surge=0, unavailable=1), id="no room: one by one"),
        pytest.param(12, 10, Rollout(surge=0, unavailable=1), id="above a ceiling that came down"),
        pytest.param(1, 1, Rollout(surge=0, unavailable=1), id="the only one"),
        pytest.param(0, 10, Rollout(surge=1, unavailable=0), id="nobody to replace"),
        pytest.param(0, 0, Rollout(surge=0, unavailable=1), id="nobody, and nobody allowed"),
    ],
)
def test_a_rollout_has_the_room_that_there_is(replicas: int, ceiling: int, wanted: Rollout) -> None:
    assert rollout(replicas, ceiling=ceiling) == wanted


@given(replicas=st.integers(0, 10_000), ceiling=st.integers(0, 10_000))
def test_a_rollout_moves_stays_within_the_ceiling_and_takes_at_most_one(
    replicas: int, ceiling: int
) -> None:
    found = rollout(replicas, ceiling=ceiling)

    assert found.surge + found.unavailable > 0, "Kubernetes refuses both to be 0"
    assert replicas + found.surge <= max(ceiling, replicas)
    assert found.unavailable == (0 if found.surge else 1)


def test_what_was_written_is_recognised() -> None:
    written = rollout(8, ceiling=10)

    seen = deployment({"metadata": {}, "spec": {"replicas": 8, "strategy": written.strategy()}})

    assert seen.rollout == written


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"strategy": {"type": "Recreate"}},
        {
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
            }
        },
    ],
    ids=["nothing", "recreate", "in percent"],
)
def test_what_somebody_else_wrote_is_none_of_ours(spec: dict[str, Any]) -> None:
    assert rollout_in(spec) is None
