"""Windows and budgets, as the limits that apply at the present moment."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.app.ports.workloads import ListedWorkers
from longshore_operator.app.scaling.state import ScalingRecord
from longshore_operator.app.states import States
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.scaling import Decision, Limit
from longshore_operator.core.scaling.budget import Claim, allotted
from longshore_operator.core.scaling.sight import asked_for
from longshore_operator.core.scaling.windows import limits_at
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharer:
    """One TaskQueue as budgets see it. Unknown values are None."""

    scaling: Scaling
    current: int | None
    """The workers that it has or is about to have."""

    decision: Decision | None


def sharers(
    present: Mapping[Key, TaskQueueObject],
    *,
    workloads: ListedWorkers,
    states: States[ScalingRecord],
    now: float,
) -> Iterator[tuple[Key, Sharer]]:
    """Yield the TaskQueues that draw on a budget. One whose spec can no longer be read keeps its
    workers, so these still count."""
    for key, task_queue in present.items():
        if task_queue.budget is not None:
            spec, record = task_queue.spec, states.of(key, task_queue)
            is_settled = spec is None or task_queue.is_deleting
            yield (
                key,
                Sharer(
                    scaling=spec.scaling if spec else Scaling(budget=task_queue.budget),
                    current=_current(workloads.workload(key), record, now=now),
                    decision=None if is_settled else record.state.decision,
                ),
            )


def _current(
    deployment: DeploymentObject | None, record: ScalingRecord, *, now: float
) -> int | None:
    state = record.state
    if state.missing and state.missing.is_over(now=now):
        return state.missing.pods  # the others cannot be created
    current, decision = asked_for(deployment, state.asked), state.decision
    if record.is_acting and decision and decision.replicas is not None:
        return max(current or 0, decision.replicas)  # this number is being requested
    return current


@dataclass(slots=True, kw_only=True)
class CurrentLimits:
    """`today` returns the current time of day, `budgets` maps each group to its workers."""

    today: Callable[[], datetime]
    budgets: Mapping[str, int]
    _allotted: dict[Key, int] = field(default_factory=dict)
    _kept: dict[Key, int] = field(default_factory=dict)
    """How many workers each may keep without needing them: what it has, minus what others lack."""

    def divide(self, sharers: Iterable[tuple[Key, Sharer]]) -> None:
        """Give each TaskQueue its share, by what was wanted at the last look."""
        groups: dict[str, dict[Key, Claim]] = defaultdict(dict)
        for key, each in sharers:
            budget = each.scaling.budget
            if budget is None:
                continue
            current = each.current or 0
            claim = each.decision.claim if each.decision else None
            groups[budget.group][key] = Claim(
                # A TaskQueue whose need is unknown claims what it has.
                wanted=current if claim is None else min(claim, each.scaling.max),
                weight=budget.weight,
                current=current,
            )
        self._allotted, self._kept = {}, {}
        for group, claims in groups.items():
            if group in self.budgets:
                parts = allotted(self.budgets[group], claims)
                self._allotted |= parts
                lack = sum(max(0, claims[key].wanted - part) for key, part in parts.items())
                self._kept |= {key: max(0, claims[key].current - lack) for key in parts}

    def of(self, key: Key, scaling: Scaling, *, current: int) -> tuple[Limit, ...]:
        """Return the limits on this TaskQueue now."""
        limits = limits_at(scaling.windows, self.today()) if scaling.windows else ()
        if scaling.budget is None:
            return limits
        group = scaling.budget.group
        if group not in self.budgets:
            return (*limits, self._unknown(group, current=current))
        share = self._allotted.get(key, current)
        keeps = max(share, self._kept.get(key, current))
        return (
            *limits,
            Limit(name=f"budget {group!r}", ceiling=share, is_share=True, keeps=keeps),
        )

    def _unknown(self, group: str, *, current: int) -> Limit:
        known = (
            f"which lists {', '.join(sorted(self.budgets))}" if self.budgets else "which is empty"
        )
        return Limit(
            name=f"budget {group!r}, which the operator's setting `budgets` does not have,",
            ceiling=current,
            is_share=True,
            trouble=Trouble(
                reason="BudgetUnknown",
                message=f"scaling.budget.group {group!r} is not in the operator's setting "
                f"`budgets`, {known}; no workers are added until it is",
            ),
        )
