from __future__ import annotations

import math
from typing import Any

import pytest

from longshore.contract.config import WorkerConfig
from longshore.errors import HandlerError
from longshore.handler import HandlerSpec
from longshore.worker.limits import HandlerLimits, limits_of


def config(**parts: Any) -> WorkerConfig:
    smallest = {"queue": "a.b", "handlers": ("jobs",), "hard_limit": 60.0, "ack_timeout": 300.0}
    return WorkerConfig.from_object({**smallest, **parts})


def spec(**parts: Any) -> HandlerSpec:
    return HandlerSpec(name="render", function=spec, **parts)


QUEUE = config(soft_limit=50.0, retry={"max_attempts": 4, "max_age": 3600.0})


@pytest.mark.parametrize(
    ("queue", "own", "expected"),
    [
        (config(), {}, HandlerLimits(max_attempts=5, hard_limit=60.0)),
        (
            QUEUE,
            {},
            HandlerLimits(max_attempts=4, hard_limit=60.0, soft_limit=50.0, max_age=3600.0),
        ),
        (
            QUEUE,
            {"hard_limit": 55.0, "soft_limit": 5.0, "max_age": 7200.0, "max_attempts": 9},
            HandlerLimits(max_attempts=9, hard_limit=55.0, soft_limit=5.0, max_age=7200.0),
        ),
        (
            config(),
            {"soft_limit": 59.0},
            HandlerLimits(max_attempts=5, hard_limit=60.0, soft_limit=59.0),
        ),
        (
            QUEUE,
            {"hard_limit": 60.0, "soft_limit": 50.0},
            HandlerLimits(max_attempts=4, hard_limit=60.0, soft_limit=50.0, max_age=3600.0),
        ),
        (
            QUEUE,
            {"hard_limit": 20.0},
            HandlerLimits(max_attempts=4, hard_limit=20.0, soft_limit=math.inf, max_age=3600.0),
        ),
    ],
    ids=["bare", "queue's", "own", "own-soft-alone", "same", "own-hard-below-queue's-soft"],
)
def test_a_handlers_limits_stand_before_its_queues(
    queue: WorkerConfig, own: dict[str, Any], expected: HandlerLimits
) -> None:
    assert limits_of(spec(**own), queue) == expected


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"hard_limit": 90.0}, ("hard_limit 1m30s", "timeLimit.hard is 1m", "lower")),
        ({"soft_limit": 55.0}, ("soft_limit 55s", "timeLimit.soft is 50s", "lower")),
        ({"soft_limit": 30.0, "hard_limit": 30.0}, ("soft_limit 30s", "shorter", "limit, 30s")),
        ({"soft_limit": 40.0, "hard_limit": 30.0}, ("soft_limit 40s", "shorter", "limit, 30s")),
    ],
)
def test_more_time_than_the_queue_allows_is_refused_with_both_values(
    own: dict[str, float], said: tuple[str, ...]
) -> None:
    with pytest.raises(HandlerError) as refused:
        limits_of(spec(**own), QUEUE)
    message = str(refused.value)
    assert "handler 'render'" in message
    assert "test_limits.py" in message
    for part in said:
        assert part in message
