"""What the scaling of one TaskQueue remembers from one step to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from longshore_operator.core.kubernetes.obstacles import Since
from longshore_operator.core.kubernetes.refusals import Refusals
from longshore_operator.core.scaling.decision import Decision
from longshore_operator.core.scaling.memory import Memory
from longshore_operator.core.scaling.sight import Asked
from longshore_operator.core.workers.cordons import Cordons
from longshore_operator.core.workers.history import History
from longshore_operator.core.workers.missing import MissingPods
from longshore_operator.core.workers.recent import Recent
from longshore_operator.core.workers.tally import Tally
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingState:
    """It may be lost at any time. Times are seconds of a monotonic clock."""

    tally: Tally
    recent: Recent
    ready: int | None = None
    """Jobs that wait; None is unknown."""

    dead: int | None = None
    """Dead letters; None is unknown."""

    unanswered_since: float | None = None
    """Since when the job queue has not answered."""

    blockage: Trouble | None = None
    """Why the job queue accepts no jobs although it is declared."""

    memory: Memory | None = None
    history: History = field(default_factory=History)
    decision: Decision | None = None
    """None while nothing can be decided."""

    ceiling: int = 0
    """The most workers that there may be now; 0 while nothing is decided."""

    cordons: Cordons = field(default_factory=Cordons)
    leaving: Mapping[str, float] = field(default_factory=dict)
    """Workers that Kubernetes was asked to remove but has not removed yet, and since when."""

    asked: Asked | None = None
    """What was last set on the Deployment."""

    refusals: Refusals = field(default_factory=Refusals)
    hazard: str | None = None
    """Why the last decision could not be carried out for now."""

    missing: MissingPods | None = None
    """Replicas that have no pod."""

    since: Since = field(default_factory=Since)
    obstacle: Trouble | None = None
    """Why workers are missing, beyond what their pods report."""
