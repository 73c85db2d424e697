"""What the reporting loop remembers of a TaskQueue."""

from dataclasses import dataclass, field
from math import inf

from longshore_operator.api.v1alpha1 import Condition


@dataclass(slots=True, kw_only=True)
class Reported:
    """One TaskQueue's, written by the reporting loop alone."""

    written: object = None
    """What the status was made of when it last needed no patch."""

    conditions: tuple[Condition, ...] = ()
    """Those that were last written; none before this operator has written any."""

    told: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a reason of a condition was last an Event."""

    quiet_until: float = -inf
    """When numbers alone may be written again."""

    is_writing: bool = False
