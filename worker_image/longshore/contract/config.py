"""A worker's configuration: this structure is written by the operator and read by the worker.

It uses msgspec instead of pydantic, whose import would take a third of a worker's start.
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
    """What a worker does with running jobs when its pod is terminated."""

    FINISH = "Finish"
    REQUEUE = "Requeue"


class Isolation(StrEnum):
    """What one job shares with the next."""

    WARM = "Warm"
    """A process runs one job after another."""

    FORK = "Fork"
    """Each job gets a fresh process, forked in advance, which has imported the handlers' modules
    already."""

    EXEC = "Exec"
    """Each job is one run of a command, in any language."""


class QueueType(StrEnum):
    """The type of the queue in RabbitMQ that holds the jobs."""

    QUORUM = "Quorum"
    CLASSIC = "Classic"


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration of a worker, except its credentials.

    Durations are seconds here and Go-style strings in JSON. Numbers are checked when JSON is read.
    """

    queue: str
    """`NAMESPACE.NAME`, to which jobs are addressed and which identifies reports."""

    source: str | None = None
    """The queue in RabbitMQ that holds the jobs, if it has another name."""

    queue_type: QueueType = QueueType.QUORUM
    isolation: Isolation = Isolation.WARM
    handlers: tuple[str, ...] = ()
    """Modules to import; each registers handlers with `@handler`. None with `Exec`."""

    command: tuple[str, ...] = ()
    """With `Exec`: the program that runs each job, with its arguments."""

    middleware: tuple[str, ...] = ()
    """Entry points of the installed middleware to run around every job, the outermost first."""

    hard_limit: float
    soft_limit: float | None = None
    kill_grace: float = 5.0
    ack_timeout: float
    """Passed as a consumer argument if RabbitMQ supports it; otherwise, a policy sets it too."""

    slots: Annotated[int, Meta(ge=1)] = 1
    prefetch: Annotated[int, Meta(ge=1)] | Literal["auto"] = 1
    """Jobs held unacked. `auto`: one per slot, and more while jobs are so short that none waits for
    100 ms in the worker; those that would are given back."""

    max_jobs_per_child: Annotated[int, Meta(ge=0)] = 0
    """Jobs after which a child is replaced; 0 means never. With `Fork` and `Exec`, it is one."""

    max_memory_per_child: Annotated[int, Meta(ge=1)] | None = None
    """Bytes of resident memory above which a child is replaced after a job."""

    memory_limit_per_job: Annotated[int, Meta(ge=1)] | None = None
    """Bytes of resident memory that a job's processes may use together."""

    on_termination: OnTermination = OnTermination.FINISH
    log_successes: bool = True
    """Whether each job that succeeds is logged; all other outcomes are always logged."""

    retry: RetryPolicy = RetryPolicy()
    heartbeat: float = HEARTBEAT
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 9090
    """Port of `/healthz`, `/readyz` and `/metrics`; 0 picks a free one."""

    def __post_init__(self) -> None:
        runs, other = (
            ("command", "handlers") if self.isolation is Isolation.EXEC else ("handlers", "command")
        )
        if not getattr(self, runs):
            raise ValueError(f"{runs} is missing; isolation {self.isolation} needs it")
        if getattr(self, other):
            raise ValueError(f"{other} has no effect with isolation {self.isolation}; remove it")

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a configuration. Raises ValueError, which names the field and its value in one
        line."""
        try:
            given = msgspec.json.decode(text)
        except ValueError as error:
            raise ValueError(f"invalid JSON: {error}") from None
        if not isinstance(given, dict):
            raise ValueError(  # noqa: TRY004 - it is the text that is wrong
                f"the configuration is {given!r:.100}; it must be a JSON object"
            )
        return cls.from_object(given)

    @classmethod
    def from_object(cls, given: dict[str, Any]) -> Self:
        """Read a configuration from decoded JSON. Raises ValueError as `from_json` does."""
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
        """Return the JSON that `from_json` reads."""
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
    """Return msgspec's message with the field and the value in front, which it omits."""
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
