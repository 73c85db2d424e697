"""A worker's configuration: the operator renders it, the worker reads it, both by this structure.

msgspec and not pydantic, whose import would be a third of a worker's start.
"""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from longshore.contract.durations import format_duration, parse_duration
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


class QueueType(StrEnum):
    """What kind of queue RabbitMQ keeps the jobs in."""

    QUORUM = "Quorum"
    CLASSIC = "Classic"


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a worker is told, but its credentials.

    Durations are seconds here and Go-style strings in JSON. Numbers are checked where JSON is read.
    """

    queue: str
    """`NAMESPACE.NAME`, by which jobs are addressed and reports are known."""

    source: str | None = None
    """The queue in RabbitMQ that holds the jobs, where it has another name."""

    queue_type: QueueType = QueueType.QUORUM
    isolation: Isolation = Isolation.WARM
    handlers: tuple[str, ...] = ()
    """Modules to import; each registers handlers with `@handler`. None with `Exec`."""

    command: tuple[str, ...] = ()
    """With `Exec`: the program that runs each job, and its arguments."""

    middleware: tuple[str, ...] = ()
    """Installed middleware to put around every job, by entry point, the outermost first."""

    hard_limit: float
    soft_limit: float | None = None
    kill_grace: float = 5.0
    ack_timeout: float
    """Passed as consumer argument where the broker takes it; elsewhere a policy says the same."""

    slots: Annotated[int, Meta(ge=1)] = 1
    prefetch: Annotated[int, Meta(ge=1)] | Literal["auto"] = 1
    """Jobs held unacked. `auto`: one per slot, and more while jobs are so short that none waits
    100 ms here; what would is given back."""

    max_jobs_per_child: Annotated[int, Meta(ge=0)] = 0
    """Replace a child after so many jobs; 0 means never. With `Fork` and `Exec` it is after one."""

    max_memory_per_child: Annotated[int, Meta(ge=1)] | None = None
    """Replace a child that keeps more bytes of resident memory than that when a job has ended."""

    memory_limit_per_job: Annotated[int, Meta(ge=1)] | None = None
    """Bytes of resident memory that a job's processes may use together."""

    on_termination: OnTermination = OnTermination.FINISH
    log_successes: bool = True
    """A line of the log for each job that succeeds; all other ends are always told."""

    retry: RetryPolicy = RetryPolicy()
    heartbeat: float = HEARTBEAT
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 9090
    """Port of `/healthz`, `/readyz` and `/metrics`; 0 picks a free one."""

    def __post_init__(self) -> None:
        runs, other = (
            ("command", "handlers") if self.isolation is Isolation.EXEC else ("handlers", "command")
        )
        if not getattr(self, runs):
            raise ValueError(f"{runs} is missing; isolation {self.isolation} runs it")
        if getattr(self, other):
            raise ValueError(f"{other} is never run with isolation {self.isolation}; leave it out")

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises ValueError that names the field and its value, in one line."""
        try:
            given = msgspec.json.decode(text)
        except ValueError as error:
            raise ValueError(f"invalid JSON: {error}") from None
        if not isinstance(given, dict):
            raise ValueError(  # noqa: TRY004 - it is the text that is wrong
                f"the configuration is {given!r:.100}; it must be an object"
            )
        return cls.from_object(given)

    @classmethod
    def from_object(cls, given: dict[str, Any]) -> Self:
        """From what the JSON holds. Raises ValueError as `from_json` does."""
        read = dict(given)
        for name in _DURATIONS:
            if isinstance(given.get(name), str):
                try:
                    read[name] = parse_duration(given[name])
                except ValueError as error:
                    raise ValueError(f"{name} is {error}") from None
        try:
            return msgspec.convert(read, cls)
        except msgspec.ValidationError as error:
            raise ValueError(_explained(str(error), given)) from None

    def to_json(self) -> str:
        """What `from_json` reads."""
        told = {
            name: format_duration(value) if name in _DURATIONS else value
            for name, value in msgspec.structs.asdict(self).items()
            if value is not None
        }
        return msgspec.json.encode(told).decode()

    @property
    def jobs_per_child(self) -> int:
        """Jobs after which a child is replaced; 0 means never."""
        return self.max_jobs_per_child if self.isolation is Isolation.WARM else 1


_DURATIONS = ("hard_limit", "soft_limit", "kill_grace", "ack_timeout", "heartbeat")


def _explained(problem: str, given: dict[str, Any]) -> str:
    """msgspec's words with the field before them, and the value that it leaves out."""
    what, _, place = problem.partition(" - at ")
    path = re.findall(r"\w+", place)
    if unknown := re.search(r"unknown field `(.+)`", what):
        path.append(unknown[1])
    value: Any = given
    try:
        for part in path:
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (LookupError, TypeError):
        return problem
    return f"{'.'.join(path)} is {value!r:.100}: {what}" if path else what
