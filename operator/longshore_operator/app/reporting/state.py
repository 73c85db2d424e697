"""What the reporting loop remembers of a TaskQueue."""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import Condition
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.core.status import Facts


class Seen(NamedTuple):
    """Everything that determines a status: equal values give equal statuses."""

    task_queue: TaskQueueObject
    facts: Facts
    timeouts: Timeouts | None
    ready: int | None
    running: int | None
    dead: int | None
    succeeded: int
    failed: int
    hazard: str | None
    """Why the last decision could not be carried out for now."""


@dataclass(slots=True, kw_only=True)
class Reported:
    """The state of one TaskQueue, written by the reporting loop alone."""

    written: Seen | None = None
    """The values from which the status was made when it last needed no patch."""

    conditions: tuple[Condition, ...] = ()
    """The conditions that were last written; empty until this operator has written some."""

    told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When each reason of a condition last caused an Event."""

    quiet_until: float = -inf
    """When a change of numbers alone may be written again."""

    is_writing: bool = False
