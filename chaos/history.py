"""What happened: written outside of the system under test, one JSON object a line.

All times are seconds of the machine's monotonic clock: every process of every pod shares it, and no
jump of the wall clock moves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """A producer had RabbitMQ's confirm for job `number` at `at`; it is due `delay` later."""

    number: int
    kind: str
    queue: str
    asked_at: float
    """Before this the job cannot have begun."""

    at: float
    delay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Started:
    """A handler's first line."""

    number: int
    attempt: int
    pod: str
    run: str
    """Unique for this run of the job."""

    at: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A handler's last line: how it left, as a word of `kinds.Way`."""

    run: str
    way: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Alive:
    """The last sign of life of a run that never ends by itself."""

    run: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the nemesis did, and what it can have hit.

    `pods` are workers that it hit themselves or on their way to RabbitMQ; None is all of them.
    `queues` are queues whose jobs RabbitMQ may have taken back; None is all of them.
    """

    kind: str
    began: float
    healed: float
    """From here on everything is as it should be, and work can resume."""

    ended: float
    """Until here a connection that it broke may be noticed."""

    pods: tuple[str, ...] | None = ()
    queues: tuple[str, ...] | None = ()
    restarts_rabbitmq: bool = False


@dataclass(frozen=True, kw_only=True)
class Left:
    """A job found at the end: `queued`, `delayed` in the ladder, `dead` for a reason, or `lost`
    where delayed jobs go that no queue is bound for."""

    number: int
    where: str
    reason: str = ""


Event = Enqueued | Started | Ended | Alive | Fault | Left
_EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Enqueued, Started, Ended, Alive, Fault, Left)
}


@dataclass(frozen=True, kw_only=True)
class History:
    """All that is known of one run, by what it is about."""

    enqueued: dict[int, Enqueued] = field(default_factory=dict)
    starts: dict[int, list[Started]] = field(default_factory=dict)
    """By job, in the order of their times."""

    ends: dict[str, Ended] = field(default_factory=dict)
    alive: dict[str, float] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    left: dict[int, list[Left]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """Events in any order."""
        history = cls()
        for event in events:
            match event:
                case Enqueued():
                    history.enqueued[event.number] = event
                case Started():
                    history.starts.setdefault(event.number, []).append(event)
                case Ended():
                    history.ends[event.run] = event
                case Alive():
                    history.alive[event.run] = max(event.at, history.alive.get(event.run, 0.0))
                case Fault():
                    history.faults.append(event)
                case Left():
                    history.left.setdefault(event.number, []).append(event)
        for runs in history.starts.values():
            runs.sort(key=lambda run: run.at)
        history.faults.sort(key=lambda fault: fault.began)
        return history


def line(event: Event) -> str:
    """One line of a history's file."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}) + "\n"


def read(folder: Path) -> Iterator[Event]:
    """All events in the `*.jsonl` files of `folder`; a line that a kill has cut short is none."""
    for path in sorted(folder.glob("*.jsonl")):
        for text in path.read_text(errors="replace").splitlines():
            try:
                said: dict[str, Any] = json.loads(text)
                kind = _EVENTS[said.pop("event")]
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            for name in ("pods", "queues"):
                if isinstance(said.get(name), list):
                    said[name] = tuple(said[name])
            yield kind(**said)
