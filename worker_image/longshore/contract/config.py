"""A worker's configuration: the operator renders it, the worker reads it, both by this model."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from longshore.contract.durations import Seconds
from longshore.contract.retry import RetryPolicy
from longshore.contract.timing import HEARTBEAT


class OnTermination(StrEnum):
    """What a worker does with its running jobs when its pod is asked to end."""

    FINISH = "Finish"
    REQUEUE = "Requeue"


class WorkerConfig(BaseModel):
    """All that a worker is told, but its credentials. Durations are Go-style strings in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: str
    """`NAMESPACE.NAME`."""

    handlers: tuple[str, ...] = Field(min_length=1)
    """Modules to import; each registers handlers with `@handler`."""

    middleware: tuple[str, ...] = ()
    """Installed middleware to put around every job, by entry point, the outermost first."""

    hard_limit: Seconds
    soft_limit: Seconds | None = None
    kill_grace: Seconds = 5.0
    ack_timeout: Seconds
    """Passed as consumer argument where the broker takes it; elsewhere a policy says the same."""

    slots: int = Field(default=1, ge=1)
    prefetch: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """Jobs held unacked. `auto`: one per slot, and more while jobs are so short that none waits
    100 ms here; what would is given back."""

    max_jobs_per_child: int = Field(default=0, ge=0)
    """Replace a child after so many jobs; 0 means never."""

    memory_limit_per_job: int | None = Field(default=None, ge=1)
    """Bytes of resident memory that a job's processes may use together."""

    on_termination: OnTermination = OnTermination.FINISH
    log_successes: bool = True
    """A line of the log for each job that succeeds; all other ends are always told."""

    retry: RetryPolicy = RetryPolicy()
    heartbeat: Seconds = HEARTBEAT
    http_port: int = Field(default=9090, ge=0, le=65535)
    """Port of `/healthz`, `/readyz` and `/metrics`; 0 picks a free one."""
