"""What the reporting loop remembers of a TaskQueue."""

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import Condition
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.core.status import Facts


class Seen(NamedTuple):
    """All that a status is made of. The same again makes the same status."""

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
    """One TaskQueue's, written by the reporting loop alone."""

    written: Seen | None = None
    """What the status was made of when it last needed no patch."""

    conditions: tuple[Condition, ...] = ()
    """Those that were last written; none before this operator has written any."""

    told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a reason of a condition was last an Event."""

    quiet_until: float = -inf
    """When numbers alone may be written again."""

    is_writing: bool = False
