"""How many workers there should be. The reasons are part of the answer.

Missing is unknown, never zero, and unknown holds. A worker is only ever taken away when it has
proved that it holds nothing. `docs/scaling.md` explains the steps and works an example by hand.
"""

from longshore_operator.core.scaling.decision import Decision, decide
from longshore_operator.core.scaling.limits import Limit, ceiling_of
from longshore_operator.core.scaling.memory import Memory
from longshore_operator.core.scaling.observation import Observation, ObservedWorker
from longshore_operator.core.scaling.policies import BUILT_IN, Policy, Situation, Wanted
from longshore_operator.core.workers.recent import ServiceTimes

__all__ = [
    "BUILT_IN",
    "Decision",
    "Limit",
    "Memory",
    "Observation",
    "ObservedWorker",
    "Policy",
    "ServiceTimes",
    "Situation",
    "Wanted",
    "ceiling_of",
    "decide",
]
