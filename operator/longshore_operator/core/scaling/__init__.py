"""Decides how many workers there should be, and gives the reasons.

A missing number is unknown, never zero, and while something is unknown, nothing changes. A worker
is removed only after it has proved that it holds no job. `docs/scaling.md` explains the steps and
works through an example.
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
