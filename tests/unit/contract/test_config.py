from typing import Any

import pytest

from longshore.contract.config import WorkerConfig


def test_what_the_operator_renders_the_worker_reads() -> None:
    config = WorkerConfig(
        queue="media.transcode",
        handlers=("media.jobs",),
        hard_limit=7200,
        soft_limit=6900,
        ack_timeout=7325,
    )

    text = config.to_json()

    assert '"hard_limit":"2h"' in text
    assert WorkerConfig.from_json(text) == config


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"handlers": []}, "handlers is missing; isolation Warm needs it"),
        ({"handlers": [], "isolation": "Fork"}, "handlers is missing; isolation Fork needs it"),
        ({"command": ["true"]}, "command has no effect with isolation Warm"),
        ({"isolation": "Exec", "handlers": []}, "command is missing; isolation Exec needs it"),
        ({"isolation": "Exec", "command": ["true"]}, "handlers has no effect with isolation Exec"),
        ({"isolation": "cold"}, "isolation is 'cold'"),
        ({"hard_limit": "two hours"}, "hard_limit is 'two hours'.*1h30m"),
        ({"slots": 0}, "slots is 0: Expected `int` >= 1"),
        ({"unheard_of": 1}, "unheard_of is 1: .*unknown field"),
        ({"retry": {"factor": "x"}}, "retry.factor is 'x': Expected `float`"),
        ({"handlers": ["m", 2]}, "handlers.1"),
        ({"retry": {"tries": 1}}, "retry.tries is 1: .*unknown field"),
    ],
)
def test_a_bad_configuration_names_its_field(change: dict[str, Any], names: str) -> None:
    good = {"queue": "a.b", "handlers": ["m"], "hard_limit": "1h", "ack_timeout": "2h"}

    with pytest.raises(ValueError, match=names):
        WorkerConfig.from_object({**good, **change})


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ({"max_jobs_per_child": 7}, 7),
        ({"max_jobs_per_child": 7, "isolation": "Fork"}, 1),
        ({"isolation": "Exec", "handlers": [], "command": ["true"]}, 1),
    ],
)
def test_only_a_warm_child_runs_more_than_one_job(change: dict[str, Any], jobs: int) -> None:
    good = {"queue": "a.b", "handlers": ["m"], "hard_limit": "1h", "ack_timeout": "2h"}

    assert WorkerConfig.from_object({**good, **change}).jobs_per_child == jobs
