"""A worker's configuration: the operator renders it, the worker reads it, both by this model."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from longshore.contract.durations import Seconds
from longshore.contract.retry import RetryPolicy
from longshore.contract.timing import HEARTBEAT


class OnTermination(StrEnum):
    """What a worker does with its running jobs when its pod is asked to end."""

    FINISH = "Finish"
    REQUEUE = "Requeue"


class Isolation(StrEnum):
    """What one job shares with the next."""

    WARM = "Warm"
    """A process runs one job after another."""

    FORK = "Fork"
    """Each job gets a fresh process, forked ahead, with the handlers' modules imported already."""

    EXEC = "Exec"
    """Each job is one run of a command, in whatever language."""


class WorkerConfig(BaseModel):
    """All that a worker is told, but its credentials. Durations are Go-style strings in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: str
    """`NAMESPACE.NAME`, by which jobs are addressed and reports are known."""

    source: str | None = None
    """The queue in RabbitMQ that holds the jobs, where it has another name."""

    isolation: Isolation = Isolation.WARM
    handlers: tuple[str, ...] = ()
    """Modules to import; each registers handlers with `@handler`. None with `Exec`."""

    command: tuple[str, ...] = ()
    """With `Exec`: the program that runs each job, and its arguments."""

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
    """Replace a child after so many jobs; 0 means never. With `Fork` and `Exec` it is after one."""

    max_memory_per_child: int | None = Field(default=None, ge=1)
    """Replace a child that keeps more bytes of resident memory than that when a job has ended."""

    memory_limit_per_job: int | None = Field(default=None, ge=1)
    """Bytes of resident memory that a job's processes may use together."""

    on_termination: OnTermination = OnTermination.FINISH
    log_successes: bool = True
    """A line of the log for each job that succeeds; all other ends are always told."""

    retry: RetryPolicy = RetryPolicy()
    heartbeat: Seconds = HEARTBEAT
    http_port: int = Field(default=9090, ge=0, le=65535)
    """Port of `/healthz`, `/readyz` and `/metrics`; 0 picks a free one."""

    @model_validator(mode="after")
    def _has_what_its_isolation_runs(self) -> Self:
        runs, other = (
            ("command", "handlers") if self.isolation is Isolation.EXEC else ("handlers", "command")
        )
        if not getattr(self, runs):
            raise ValueError(f"{runs} is missing; isolation {self.isolation} runs it")
        if getattr(self, other):
            raise ValueError(f"{other} is never run with isolation {self.isolation}; leave it out")
        return self

    @property
    def jobs_per_child(self) -> int:
        """Jobs after which a child is replaced; 0 means never."""
        return self.max_jobs_per_child if self.isolation is Isolation.WARM else 1
