"""Carries out what was decided about one TaskQueue's workers: orders to them, scale, marks on pods.

Fail closed: a worker is only taken away after its own word that it holds nothing and gets nothing,
and only while Kubernetes has no reason to take another one in its place.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from longshore.contract.names import worker_name
from longshore.contract.reports import WorkerReport
from longshore_operator.app.ports.kubernetes import Cluster
from longshore_operator.app.ports.rabbitmq import Fleet
from longshore_operator.app.record import Asked, Record
from longshore_operator.app.watched.objects import DeploymentObject
from longshore_operator.app.watched.world import Key
from longshore_operator.core.kubernetes.pods import CHEAPEST, DELETION_COST, Pod
from longshore_operator.core.kubernetes.rollout import Rollout, rollout
from longshore_operator.core.scaling import Decision, ObservedWorker
from longshore_operator.core.workers.cordons import drains, followed
from longshore_operator.errors import UNREACHABLE, Invalid, OperatorError, Transient

logger = logging.getLogger(__name__)

LEAVE_WITHIN = 30.0
"""Seconds after which a pod that should have been taken away counts again: another one went."""

LEFT_ALONE = frozenset({"DryRun", "ForeignAutoscaler"})
"""Reasons for holding in which the Deployment is not touched at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is seen of one TaskQueue's workers at one moment."""

    key: Key
    deployment: DeploymentObject | None
    pods: tuple[Pod, ...]
    reports: Mapping[str, WorkerReport]
    now: float
    ceiling: int = 0
    """Most workers that there may be now; 0 while nothing is decided."""

    @property
    def staying(self) -> tuple[Pod, ...]:
        """Pods that were not asked to end."""
        return tuple(pod for pod in self.pods if not pod.ending)

    @property
    def unseen(self) -> int:
        """Workers that report though the watch shows no pod of theirs (yet, or any more)."""
        known = {pod.name for pod in self.pods}
        return sum(
            not report.draining for name, report in self.reports.items() if name not in known
        )


@dataclass(slots=True, kw_only=True)
class Workers:
    """Executes decisions."""

    cluster: Cluster
    new_id: Callable[[], str]

    def observed(self, sight: Sight, record: Record, *, epoch: float) -> tuple[ObservedWorker, ...]:
        """What `decide` is shown: all but those that are about to be taken away.

        `epoch` is the present in seconds since then.
        """
        record.leaving = self._leaving(sight, record)
        return tuple(
            self._worker(pod, sight, record, epoch=epoch)
            for pod in sight.staying
            if pod.name not in record.leaving
        )

    def _leaving(self, sight: Sight, record: Record) -> dict[str, float]:
        """Who is still to be taken away by Kubernetes, and since when."""
        before = record.leaving
        if _is_behind(sight, record):
            # Perhaps with what an operator before this one has asked for.
            return {
                pod.name: before.get(pod.name, sight.now)
                for pod in sight.staying
                if pod.name in before or pod.is_marked
            }
        return {
            pod.name: before[pod.name]
            for pod in sight.staying
            if pod.name in before and sight.now - before[pod.name] < LEAVE_WITHIN
        }

    def _worker(self, pod: Pod, sight: Sight, record: Record, *, epoch: float) -> ObservedWorker:
        # A worker's own word first: Kubernetes may not have noticed yet that it runs.
        report = sight.reports.get(pod.name)
        age = None if pod.created is None else max(0.0, epoch - pod.created)
        if report is None:
            return ObservedWorker(
                name=pod.name,
                state="unknown" if pod.running else "starting",
                age=age,
                ready=pod.ready,
            )
        return ObservedWorker(
            name=pod.name,
            state="busy" if report.busy or report.held else "idle",
            held=max(report.held, report.busy),
            settled=report.succeeded + report.failed + report.dead,
            cordoned=record.cordons.has(report, now=sight.now),
            age=age,
            slots=report.slots,
            busy=report.busy,
            ready=pod.ready,
        )

    def replicas(self, sight: Sight, record: Record) -> int | None:
        """What was asked of Kubernetes last, whether or not the watch has shown it yet."""
        return asked_for(sight.deployment, record)

    def order(self, sight: Sight, record: Record, *, fleet: Fleet, queue: str) -> None:
        """Tell workers to take no jobs, to take some again, or to end if their pods do."""
        ending = [pod.name for pod in sight.pods if pod.ending]
        for worker, order in drains(sight.reports, ending=ending):
            fleet.order(order, queue=queue, worker=worker)
        if record.decision is None or not (sight.reports or record.cordons.ordered):
            return
        reports = {
            pod.name: report for pod in sight.staying if (report := sight.reports.get(pod.name))
        }
        record.cordons, orders = followed(
            record.cordons,
            record.decision,
            reports=reports,
            leaving=record.leaving,
            now=sight.now,
            new_id=self.new_id,
        )
        for worker, order in orders:
            fleet.order(order, queue=queue, worker=worker)

    def is_due(self, sight: Sight, record: Record) -> bool:
        """Whether `scale` has something to do where there are no pods."""
        decision, before = record.decision, self.replicas(sight, record)
        if decision is None:
            return False
        is_other = False
        if decision.replicas is not None and before is not None:
            refusals, to = record.refusals, decision.replicas
            is_other = refusals.most(to, before=before, now=sight.now) > before or (
                decision.free > 0 and not refusals.holds(to=to, before=before, now=sight.now)
            )
        return is_other or (decision.holds not in LEFT_ALONE and self._is_misfit(sight, record))

    def _is_misfit(self, sight: Sight, record: Record) -> bool:
        """Whether `_keep_rollout` has something to write that was not just refused."""
        latest = _latest(sight.deployment, record)
        if latest is None or not _is_unfit(sight, record):
            return False
        to = latest.replicas
        return not record.refusals.holds(to=to, before=to, now=sight.now)

    async def scale(self, sight: Sight, record: Record, *, look_again: Callable[[], Sight]) -> None:
        """Bring the number of workers about; `look_again` gives what is seen by the time that it is
        called. Raises Transient or Invalid."""
        decision, before = record.decision, self.replicas(sight, record)
        if decision is None or decision.replicas is None or before is None:
            await self._unmark(sight, keep=record.leaving)
        elif decision.replicas > before:
            await self._unmark(sight, keep=record.leaving)
            await self._grow(sight, record, before=before, to=decision.replicas)
        elif decision.free:
            await self._unmark(sight, keep={*record.leaving, *decision.remove})
            await self._give_up(sight, record, before=before, to=before - decision.free)
        elif sight.deployment is not None and sight.deployment.is_rolling:
            await self._unmark(sight, keep=record.leaving)
            await self._shrink_in_rollout(decision, sight, record, before=before)
        else:
            going = self._going(decision, sight, record)
            await self._unmark(sight, keep={*record.leaving, *(pod.name for pod in going)})
            if going and (reason := _hazard(sight, record, going=going)):
                record.decision = replace(decision, why=(*decision.why, reason))
            elif going:
                await self._shrink(decision, sight, record, going=going, look_again=look_again)
        if decision is not None and decision.holds not in LEFT_ALONE:
            await self._keep_rollout(sight, record)

    async def _grow(self, sight: Sight, record: Record, *, before: int, to: int) -> None:
        """Ask for `to` workers, or for as many of them as Kubernetes admits."""
        most = record.refusals.most(to, before=before, now=sight.now)
        while most > before:
            self._log(sight, record, before=before, to=most)
            try:
                # Not blindly: somebody may have set a higher number that the watch has yet to show.
                await self._rescale(sight, record, before=before, to=most)
            except Invalid:
                if most == before + 1:
                    raise
                most = before + (most - before) // 2
            else:
                return

    async def _give_up(self, sight: Sight, record: Record, *, before: int, to: int) -> None:
        """Ask for no more pods than there are: nobody has to go for that."""
        if sight.deployment is not None and not sight.deployment.is_rolling:
            self._log(sight, record, before=before, to=to)
            await self._rescale(sight, record, before=before, to=to, most_pods=to)

    async def _shrink_in_rollout(
        self, decision: Decision, sight: Sight, record: Record, *, before: int
    ) -> None:
        """Kubernetes chooses who goes, so that all must be proved idle."""
        to = before if decision.replicas is None else decision.replicas
        going = self._going(decision, sight, record)
        if to < before and len(going) == len(sight.staying) and not sight.unseen:
            self._log(sight, record, before=before, to=to)
            await self._rescale(sight, record, before=before, to=to)

    def _going(self, decision: Decision, sight: Sight, record: Record) -> tuple[Pod, ...]:
        """Those of `decision.remove` for whom it still holds."""
        return tuple(
            pod
            for pod in sight.staying
            if pod.name in decision.remove
            and (
                record.cordons.is_proved_idle(sight.reports.get(pod.name), now=sight.now)
                or (not pod.running and pod.name not in sight.reports)
            )
        )

    async def _shrink(
        self,
        decision: Decision,
        sight: Sight,
        record: Record,
        *,
        going: tuple[Pod, ...],
        look_again: Callable[[], Sight],
    ) -> None:
        answers = await asyncio.gather(*(self._mark(sight.key, pod) for pod in going))
        marked = {pod.name for pod, is_marked in zip(going, answers, strict=True) if is_marked}
        # That took its time, and a worker's word holds for a while only.
        sight = look_again()
        going = tuple(pod for pod in self._going(decision, sight, record) if pod.name in marked)
        before, deployment = self.replicas(sight, record), sight.deployment
        if before is None or deployment is None or deployment.is_rolling or not going:
            return
        to = before - len(going)
        if to < (decision.replicas or 0) or _hazard(sight, record, going=going):
            return
        self._log(sight, record, before=before, to=to)
        leaving = record.leaving | {pod.name: sight.now for pod in going}
        try:
            await self._rescale(sight, record, before=before, to=to)
        except Transient as error:
            if error.reason == UNREACHABLE:
                record.leaving = leaving  # it may have been done all the same
            raise
        record.leaving = leaving

    async def _keep_rollout(self, sight: Sight, record: Record) -> None:
        """Have the next rollout, or the one under way, stay within what there may be."""
        latest = _latest(sight.deployment, record)
        if latest and self._is_misfit(sight, record):
            await self._rescale(sight, record, before=latest.replicas, to=latest.replicas)

    async def _rescale(
        self,
        sight: Sight,
        record: Record,
        *,
        before: int,
        to: int,
        most_pods: int | None = None,
    ) -> None:
        if record.refusals.holds(to=to, before=before, now=sight.now):
            return  # Kubernetes has just said no
        namespace, name = sight.key
        wanted = rollout(to, ceiling=sight.ceiling)
        try:
            generation = await self.cluster.rescale(
                namespace=namespace,
                name=worker_name(name),
                uid=sight.deployment.uid if sight.deployment else "",
                before=before,
                to=to,
                rollout=wanted,
                most_pods=most_pods,
            )
        except OperatorError as error:
            record.refusals = record.refusals.noted(error, to=to, before=before, now=sight.now)
            raise
        record.refusals = record.refusals.granted(to=to, before=before)
        record.asked = _asked(sight, replicas=to, rollout=wanted, generation=generation)

    async def _mark(self, key: Key, pod: Pod) -> bool:
        if pod.is_marked:
            return True
        try:
            await self._annotate(key, pod, cost=CHEAPEST)
        except OperatorError as error:
            logger.warning("pod_not_marked", extra={"pod": pod.name, "why": str(error)})
            return False
        return True

    async def _unmark(self, sight: Sight, *, keep: Collection[str]) -> None:
        """A mark from a shrink that came to nothing would make the next one take that pod."""
        for pod in sight.staying:
            if pod.is_marked and pod.name not in keep:
                try:
                    await self._annotate(sight.key, pod, cost=None)
                except OperatorError as error:
                    # It may be gone, and only the watch still shows it.
                    logger.warning("mark_stays", extra={"pod": pod.name, "why": str(error)})

    async def _annotate(self, key: Key, pod: Pod, *, cost: str | None) -> None:
        await self.cluster.annotate_pod(
            namespace=key[0], name=pod.name, uid=pod.uid, annotations={DELETION_COST: cost}
        )

    def _log(self, sight: Sight, record: Record, *, before: int, to: int) -> None:
        logger.info(
            "scaled",
            extra={
                "task_queue": "/".join(sight.key),
                "from": before,
                "to": to,
                "why": "; ".join(record.decision.why if record.decision else ()),
            },
        )


def asked_for(deployment: DeploymentObject | None, record: Record) -> int | None:
    """Workers that were asked of Kubernetes last, as far as is known."""
    latest = _latest(deployment, record)
    return latest.replicas if latest else None


def _asked(sight: Sight, *, replicas: int, rollout: Rollout, generation: int) -> Asked:
    uid = sight.deployment.uid if sight.deployment else ""
    return Asked(replicas=replicas, rollout=rollout, generation=generation, uid=uid)


def _latest(deployment: DeploymentObject | None, record: Record) -> Asked | DeploymentObject | None:
    """What the Deployment is: as the watch shows it, or as it was asked to be since."""
    asked = record.asked
    if deployment is None or asked is None or asked.uid != deployment.uid:
        return deployment
    return asked if deployment.generation < asked.generation else deployment


def _is_behind(sight: Sight, record: Record) -> bool:
    """Whether Kubernetes has yet to take pods away."""
    deployment, latest = sight.deployment, _latest(sight.deployment, record)
    if deployment is None or latest is None:
        return False
    surge = 0
    if deployment.is_rolling and deployment.is_observed:
        if latest.rollout is None:
            return False
        surge = latest.rollout.surge
    return len(sight.staying) > latest.replicas + surge


def _is_unfit(sight: Sight, record: Record) -> bool:
    """Whether a rollout would not keep to what there may be now."""
    latest = _latest(sight.deployment, record)
    return latest is not None and latest.rollout != rollout(latest.replicas, ceiling=sight.ceiling)


def _hazard(sight: Sight, record: Record, *, going: Iterable[Pod]) -> str | None:
    """Why Kubernetes might take another pod than one of `going`."""
    names = {pod.name for pod in going} | record.leaving.keys()
    for pod in sight.staying:
        is_worker = pod.running or pod.name in sight.reports
        if is_worker and not pod.ready and pod.name not in names:
            return f"worker {pod.name} is not ready, and Kubernetes would take it first"
    return None
