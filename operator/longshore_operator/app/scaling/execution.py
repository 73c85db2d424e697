"""Carries out a decision about one TaskQueue's workers: their number, and the marks on pods.

It fails closed: a worker is removed only after it has itself reported that it holds no job and gets
none, and only while Kubernetes has no reason to remove another one instead.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from longshore.logs import Log
from longshore_operator.app.ports.workloads import Workloads
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling import Decision
from longshore_operator.core.scaling.sight import Sight, asked_for, hazard, latest
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.step import LEFT_ALONE, going, is_misfit
from longshore_operator.errors import UNREACHABLE, Invalid, OperatorError, Transient

log = Log(__name__)


@dataclass(slots=True, kw_only=True)
class Execution:
    """The execution of one decision. The decision itself does not change; `state` records the
    outcome, also when a call fails."""

    workloads: Workloads
    state: ScalingState
    look_again: Callable[[], Sight]
    """Returns a new sight, as of the call."""

    async def scale(self, sight: Sight) -> None:
        """Set the number of workers that was decided. Raises Transient or Invalid."""
        decision, leaving = self.state.decision, self.state.leaving
        before = asked_for(sight.deployment, self.state.asked)
        if decision is None or decision.replicas is None or before is None:
            await self._unmark(sight, keep=leaving)
        elif decision.replicas > before:
            await self._unmark(sight, keep=leaving)
            await self._grow(sight, before=before, to=decision.replicas)
        elif decision.free:
            await self._unmark(sight, keep={*leaving, *decision.remove})
            await self._give_up(sight, before=before, to=before - decision.free)
        elif sight.deployment is not None and sight.deployment.is_rolling:
            await self._unmark(sight, keep=leaving)
            await self._shrink_in_rollout(decision, sight, before=before)
        else:
            pods = going(decision, self.state, sight)
            await self._unmark(sight, keep={*leaving, *(pod.name for pod in pods)})
            if pods and (reason := self._hazard(sight, going=pods)):
                self.state = replace(self.state, hazard=reason)
            elif pods:
                await self._shrink(decision, sight, pods=pods)
        if decision is not None and decision.holds not in LEFT_ALONE:
            await self._keep_rollout(sight)

    async def _grow(self, sight: Sight, *, before: int, to: int) -> None:
        """Request `to` workers, or as many of them as Kubernetes admits."""
        most = self.state.refusals.most(to, before=before, now=sight.now)
        while most > before:
            self._log(sight, before=before, to=most)
            try:
                # `before` is checked: a higher number may be set that the watch does not show yet.
                await self._rescale(sight, before=before, to=most)
            except Invalid:
                if most == before + 1:
                    raise
                most = before + (most - before) // 2
            else:
                return

    async def _give_up(self, sight: Sight, *, before: int, to: int) -> None:
        """Request no more pods than exist, which removes no worker."""
        if sight.deployment is not None and not sight.deployment.is_rolling:
            self._log(sight, before=before, to=to)
            await self._rescale(sight, before=before, to=to, most_workers=to)

    async def _shrink_in_rollout(self, decision: Decision, sight: Sight, *, before: int) -> None:
        """Shrink only if all pods are proved idle, because Kubernetes chooses which it removes."""
        to = before if decision.replicas is None else decision.replicas
        pods = going(decision, self.state, sight)
        if to < before and len(pods) == len(sight.staying) and not sight.unseen:
            self._log(sight, before=before, to=to)
            await self._rescale(sight, before=before, to=to)

    async def _shrink(self, decision: Decision, sight: Sight, *, pods: tuple[Pod, ...]) -> None:
        answers = await asyncio.gather(*(self._mark(sight, pod) for pod in pods))
        marked = {pod.name for pod, is_marked in zip(pods, answers, strict=True) if is_marked}
        # Marking took some time, and a worker's report is valid only for a while.
        sight = self.look_again()
        pods = tuple(pod for pod in going(decision, self.state, sight) if pod.name in marked)
        before, deployment = asked_for(sight.deployment, self.state.asked), sight.deployment
        if before is None or deployment is None or deployment.is_rolling or not pods:
            return
        to = before - len(pods)
        if to < (decision.replicas or 0) or self._hazard(sight, going=pods):
            return
        self._log(sight, before=before, to=to)
        leaving = {**self.state.leaving, **{pod.name: sight.now for pod in pods}}
        try:
            await self._rescale(sight, before=before, to=to)
        except Transient as error:
            if error.reason == UNREACHABLE:
                self.state = replace(self.state, leaving=leaving)  # the call may have succeeded
            raise
        self.state = replace(self.state, leaving=leaving)

    def _hazard(self, sight: Sight, *, going: tuple[Pod, ...]) -> str | None:
        return hazard(sight, going={*(pod.name for pod in going), *self.state.leaving})

    async def _keep_rollout(self, sight: Sight) -> None:
        """Keep the next or current rollout within the ceiling on workers."""
        found = latest(sight.deployment, self.state.asked)
        if found and is_misfit(self.state, sight):
            await self._rescale(sight, before=found.replicas, to=found.replicas)

    async def _rescale(
        self, sight: Sight, *, before: int, to: int, most_workers: int | None = None
    ) -> None:
        refusals, workload = self.state.refusals, sight.deployment
        if workload is None or refusals.holds(to=to, before=before, now=sight.now):
            return  # there is no workload, or this number was refused just now
        try:
            asked = await self.workloads.scale(
                sight.key,
                workload,
                to=to,
                ceiling=self.state.ceiling,
                before=before,
                most_workers=most_workers,
            )
        except OperatorError as error:
            refusals = refusals.noted(error, to=to, before=before, now=sight.now)
            self.state = replace(self.state, refusals=refusals)
            raise
        self.state = replace(
            self.state,
            refusals=refusals.granted(to=to, before=before),
            asked=asked,
        )

    async def _mark(self, sight: Sight, pod: Pod) -> bool:
        if pod.is_marked:
            return True
        try:
            await self.workloads.retire(sight.key, pod)
        except OperatorError as error:
            log.warning(
                "pod-not-marked", task_queue=".".join(sight.key), pod=pod.name, error=str(error)
            )
            return False
        return True

    async def _unmark(self, sight: Sight, *, keep: Collection[str]) -> None:
        """Remove marks from shrinks that did not happen; the next one would take those pods."""
        for pod in sight.staying:
            if pod.is_marked and pod.name not in keep:
                try:
                    await self.workloads.spare(sight.key, pod)
                except OperatorError as error:
                    # The pod may be gone, although the watch still shows it.
                    log.warning(
                        "mark-not-removed",
                        task_queue=".".join(sight.key),
                        pod=pod.name,
                        error=str(error),
                    )

    def _log(self, sight: Sight, *, before: int, to: int) -> None:
        decision = self.state.decision
        log.info(
            "task-queue-scaled",
            task_queue=".".join(sight.key),
            before=before,
            to=to,
            why="; ".join(decision.why if decision else ()),
        )
