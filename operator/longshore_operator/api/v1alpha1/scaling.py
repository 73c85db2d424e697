"""How many workers a TaskQueue has: the part of its spec and the part of its status."""

import re
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import ConfigDict, Field, field_validator

from longshore_operator.api.types import (
    DnsLabel,
    Duration,
    DurationOrZero,
    Object,
    Resource,
    rules,
)

MOST_WORKERS = 10_000
"""The most workers that one TaskQueue can have."""

_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)

_FIVE_FIELDS = "^ *[^ @]+( +[^ ]+){4} *$"
_FIELDS = (
    "five fields: minute, hour, day of month, month, day of week, e.g. 0 8 * * MON-FRI; seconds "
    "and names like @daily are not supported"
)
"""cronsim accepts six fields too, but an expression with seconds costs the scaler 20 ms a
minute."""


class ScalingWindow(Resource):
    """A recurring period in which other limits hold."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "has(self.min) || has(self.max)",
                "message": "a window needs min, which raises the floor, or max, which lowers the "
                "ceiling",
            },
            {
                "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
                "message": "a window's min must not exceed its max",
            },
        )
    )

    cron: str = Field(
        min_length=9,
        max_length=128,
        description="When the window begins: minute, hour, day of month, month, day of week, as in "
        "a crontab, e.g. `0 8 * * MON-FRI`.",
        json_schema_extra=rules(
            {"rule": f"self.matches('{_FIVE_FIELDS}')", "message": f"must have {_FIELDS}"}
        ),
    )
    duration: Duration = Field(description="How long the window lasts, e.g. 10h.")
    time_zone: str = Field(
        default="UTC",
        max_length=64,
        pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
        description="Time zone of `cron`, e.g. Europe/Berlin. If a change to daylight saving time "
        "skips the time at which a window begins, it begins right after the gap; if that time "
        "occurs twice, the window begins only once.",
    )
    min: int | None = Field(
        default=None,
        ge=0,
        le=MOST_WORKERS,
        description="Minimum number of workers during the window.",
    )
    max: int | None = Field(
        default=None,
        ge=0,
        le=MOST_WORKERS,
        description="Maximum number of workers during the window.",
    )

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, text: str) -> str:
        if not re.fullmatch(_FIVE_FIELDS, text):
            raise ValueError(f"{text!r} must have {_FIELDS}")
        try:
            CronSim(text, _ANY_TIME)
        except CronSimError as error:
            raise ValueError(
                f"{text!r} is not a cron expression ({error}); write it like 0 8 * * MON-FRI"
            ) from error
        return text

    @field_validator("time_zone")
    @classmethod
    def _is_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{name!r} is not a time zone; write it like Europe/Berlin") from error
        return name


class Budget(Resource):
    """A share of the workers that several TaskQueues may have together."""

    group: DnsLabel = Field(
        description="Name of the budget. The operator's setting `budgets` defines how many workers "
        "it has."
    )
    weight: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Weight of this TaskQueue relative to the others when not all of them can have "
        "the workers that they want.",
    )


class Scaling(Resource):
    """How many workers there are."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "self.min <= self.max",
                "message": "scaling.min must not exceed scaling.max",
            }
        )
    )

    min: int = Field(default=0, ge=0, le=MOST_WORKERS, description="Minimum number of workers.")
    max: int = Field(default=10, ge=1, le=MOST_WORKERS, description="Maximum number of workers.")
    policy: str = Field(
        default="queueWait",
        max_length=63,
        pattern="^[A-Za-z][A-Za-z0-9_.-]*$",
        description="`queueWait`: as many workers as are needed for jobs to begin within "
        "`maxQueueWait`. `backlog`: one worker for every `jobsPerWorker` jobs that wait or run. "
        "`fixed`: always `max` workers. Other policies can be installed in the operator.",
    )
    max_queue_wait: Duration = Field(
        default=30.0,
        description="How long a job may wait before it begins. The policy `queueWait` aims for a "
        "shorter wait.",
    )
    jobs_per_worker: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Number of jobs, waiting or running, for which the policy `backlog` wants one "
        "worker. Default: `worker.slots`, the number that one worker runs at a time.",
    )
    policy_options: Object | None = Field(
        default=None, description="Options of a policy that is installed in the operator."
    )
    idle_grace: DurationOrZero | None = Field(
        default=None,
        description="Workers are removed after no job has waited or run for this long. Default: "
        "half of `maxQueueWait`, but at least 5 s for each second beyond the first that the "
        "fastest of the last hundred starts took, without time spent waiting for a CPU.",
    )
    steady_for: DurationOrZero = Field(
        default=300.0,
        description="While there is work, the number of workers is not reduced below the highest "
        "number that was wanted within this time.",
    )
    min_life: DurationOrZero = Field(
        default=10.0, description="A worker is not removed before it is this old."
    )
    max_growth: int | None = Field(
        default=None,
        ge=1,
        le=MOST_WORKERS,
        description="Maximum number of workers that are added in one minute.",
    )
    max_shrinkage: int | None = Field(
        default=None,
        ge=1,
        le=MOST_WORKERS,
        description="Maximum number of workers that are removed in one minute.",
    )
    windows: list[ScalingWindow] = Field(
        default=[],
        max_length=16,
        description="Periods in which the floor is raised or the ceiling lowered.",
    )
    budget: Budget | None = Field(
        default=None, description="The budget that this TaskQueue shares with others."
    )
    paused: bool = Field(
        default=False, description="Leave the number of workers as it is, regardless of the work."
    )
    dry_run: bool = Field(
        default=False, description="Decide and explain in status.scaling, but change nothing."
    )


class ScalingStatus(Resource):
    """What the scaler decided, and why."""

    wanted: int | None = Field(
        default=None,
        description="Number of workers that the scaler wants; absent while it is unknown.",
    )
    current: int | None = Field(default=None, description="Replicas requested in the Deployment.")
    why: list[Annotated[str, Field(max_length=512)]] = Field(
        default=[], max_length=32, description="The steps that led to the wanted number."
    )
    since: str | None = Field(
        default=None, max_length=32, description="When the wanted number last changed."
    )
