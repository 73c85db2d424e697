"""When a RabbitMQ that answers takes no jobs, and when that is worth a condition."""

import pytest

from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.core.rabbitmq.blockage import (
    QUORUM_LOST_AFTER,
    UNAVAILABLE_AFTER,
    Alarm,
    alarm_trouble,
)
from longshore_operator.core.rabbitmq.depth import Depth
from longshore_operator.core.scaling.sight import Sight
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.step import step
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (["memory"], "MemoryAlarm"),
        (["disk"], "DiskAlarm"),
        (["disk", "memory"], "MemoryAlarm"),
        (["file_descriptor_limit"], None),
        ([], None),
    ],
    ids=str,
)
def test_alarms_that_block_publishers_are_told_with_their_node(
    resources: list[str], reason: str | None
) -> None:
    trouble = alarm_trouble([Alarm(resource=each, node="rabbit@b") for each in resources])

    assert (trouble and trouble.reason) == reason
    assert trouble is None or "rabbit@b" in trouble.message


SPEC = TaskQueueSpec.model_validate(
    {"timeLimit": {"hard": "60s"}, "worker": {"image": "i", "handlers": ["m"]}}
)


def reasons(*looks: tuple[float, bool, bool]) -> list[str | None]:
    """Of looks at a queue: when, whether it was silent, whether it had its quorum."""
    state = ScalingState(tally=Tally(since=0), recent=Recent(since=0))
    found = list[str | None]()
    for now, is_silent, has_quorum in looks:
        sight = Sight(
            key=("media", "work"),
            deployment=None,
            pods=(),
            reports={},
            now=now,
            queue="media.work",
            jobs=None if is_silent else Depth(ready=0, consumers=0),
            has_quorum=has_quorum,
        )
        state = step(state, sight, spec=SPEC, new_id=str).state
        found.append(state.blockage.reason if state.blockage else None)
    return found


def test_a_queue_without_a_quorum_is_told_after_a_moment_and_no_more_once_it_answers() -> None:
    lost = QUORUM_LOST_AFTER
    looks = [(0.0, True, False), (lost, True, False), (lost + 1, False, True), (99, True, False)]

    assert reasons(*looks) == [None, "QuorumLost", None, None]


def test_the_election_of_a_leader_is_no_trouble_but_a_silence_that_lasts_is() -> None:
    looks = [
        (0.0, True, True),
        (UNAVAILABLE_AFTER - 1, True, True),
        (UNAVAILABLE_AFTER, True, True),
    ]

    assert reasons(*looks) == [None, None, "QueueUnavailable"]
