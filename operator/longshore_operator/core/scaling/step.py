"""One step of scaling: turns what is seen into a decision. Values in, values out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from longshore.contract.reports import WorkerReport
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.core.kubernetes.obstacles import Scene, obstacle
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.rabbitmq.blockage import queue_trouble
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.scaling.decision import Decision, decide, held, without_shrink
from longshore_operator.core.scaling.limits import ceiling_of
from longshore_operator.core.scaling.observation import Observation, ObservedWorker
from longshore_operator.core.scaling.policies import BUILT_IN, Policy
from longshore_operator.core.scaling.sight import Sight, asked_for, is_behind, is_unfit, latest
from longshore_operator.core.scaling.state import ScalingState
from longshore_operator.core.scaling.waits import longest_wait, waiting
from longshore_operator.core.workers.cordons import Orders, drains, followed
from longshore_operator.core.workers.missing import missing

LEAVE_WITHIN = 30.0
"""Seconds after which a pod that should have been removed counts again, because another one was
removed instead."""

LEFT_ALONE = frozenset({"DryRun", "ForeignAutoscaler"})
"""Reasons for holding with which the Deployment is not changed at all."""

QUOTA = "exceeded quota"
"""The API server's words for a ResourceQuota without room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPlan:
    """The result of one step. The decision is in the state."""

    state: ScalingState
    orders: Orders = ()
    """Orders to send to workers now."""

    is_doubted: bool = False
    """Whether a declared object seems to be missing, so that the TaskQueue should be reconciled."""


def step(
    state: ScalingState,
    sight: Sight,
    *,
    spec: TaskQueueSpec | None,
    new_id: Callable[[], str],
    policies: Mapping[str, Policy] = BUILT_IN,
) -> ScalingPlan:
    """Count jobs and workers, and decide how many workers there should be and which of them go.

    `spec` is None if it cannot be read or the Broker cannot be reached; then nothing is decided.
    `new_id` returns ids of cordons, `policies` are all that are installed.
    """
    if spec is None:
        state = replace(
            state,
            decision=None,
            memory=None,
            ready=None,
            unanswered_since=None,
            blockage=None,
            ceiling=0,
            hazard=None,
        )
        return ScalingPlan(state=_noted(state, sight))
    state = _counted(state, sight, most=spec.scaling.max)
    state = replace(state, ceiling=_ceiling(state, sight, spec=spec), hazard=None)
    is_doubted = isinstance(sight.jobs, Missing) or isinstance(sight.dead, Missing)
    if not sight.is_declared:
        return ScalingPlan(state=_noted(state, sight), is_doubted=is_doubted)
    is_doubted |= sight.deployment is None and sight.is_overdue
    state = _decided(state, sight, spec=spec, policies=policies)
    state, orders = ordered(state, sight, new_id=new_id)
    return ScalingPlan(state=_noted(state, sight), orders=orders, is_doubted=is_doubted)


def _counted(state: ScalingState, sight: Sight, *, most: int) -> ScalingState:
    heard, silent = state.recent.seen, sight.is_declared and sight.jobs is None
    since = None
    if silent:
        since = sight.now if state.unanswered_since is None else state.unanswered_since
    ready = waiting(sight.jobs, reports=sight.reports, cordoned=state.cordons.ordered)
    return replace(
        state,
        tally=state.tally.counted(sight.reports.values(), most=most),
        recent=state.recent.learned(sight.reports, sight.pods, now=sight.now, most=most),
        ready=ready,
        dead=sight.dead.ready if isinstance(sight.dead, Depth) else state.dead,
        unanswered_since=since,
        blockage=None
        if since is None
        else queue_trouble(sight.queue, has_quorum=sight.has_quorum, silent_for=sight.now - since),
        history=state.history.noted(
            epoch=sight.epoch,
            backlog=ready,
            workers=asked_for(sight.deployment, state.asked),
            wait=longest_wait(sight.reports, before=heard),
        ),
    )


def _ceiling(state: ScalingState, sight: Sight, *, spec: TaskQueueSpec) -> int:
    ceiling = ceiling_of(spec.scaling, limits=sight.limits)
    if _is_full(state, sight):  # a quota is a ceiling too
        ceiling = min(ceiling, asked_for(sight.deployment, state.asked) or 0)
    return ceiling


def _is_full(state: ScalingState, sight: Sight) -> bool:
    """Return whether a quota has no room for a rollout's new pods beside the old ones. If so, it is
    a ceiling like any other: workers are replaced one by one."""
    deployment = sight.deployment
    return (
        deployment is not None
        and deployment.is_rolling
        and deployment.refused is not None
        and state.obstacle == deployment.refused
        and QUOTA in deployment.refused.message
    )


def _decided(
    state: ScalingState, sight: Sight, *, spec: TaskQueueSpec, policies: Mapping[str, Policy]
) -> ScalingState:
    state = replace(state, leaving=leaving(state, sight))
    workers = observed(state, sight)
    replicas = asked_for(sight.deployment, state.asked)
    decision = decide(
        spec.scaling,
        slots=spec.worker.slots,
        observation=Observation(
            ready=state.ready,
            workers=workers,
            replicas=replicas,
            service=state.recent.service,
            startup=state.recent.startup,
            quickest=state.recent.quickest,
            finished=state.recent.finished,
            unseen=sight.unseen,
            is_rolling=sight.deployment is not None and sight.deployment.is_rolling,
        ),
        memory=state.memory,
        now=sight.now,
        limits=sight.limits,
        policies=policies,
    )
    if sight.autoscaler:
        why = (
            f"HorizontalPodAutoscaler {sight.autoscaler} sets the number of these workers: delete "
            "it, and the KEDA ScaledObject that created it; until then, Longshore does not scale"
        )
        decision = held(decision, workers, reason="ForeignAutoscaler", why=why)
    refusals = state.refusals.judged(wanted=decision.wanted)
    if replicas is not None and refusals.keeps(before=replicas, now=sight.now):
        why = "Kubernetes has refused to remove workers; another attempt follows in a moment"
        decision = without_shrink(decision, workers, replicas=replicas, why=why)
    return replace(state, refusals=refusals, decision=decision, memory=decision.memory)


def leaving(state: ScalingState, sight: Sight) -> Mapping[str, float]:
    """Return the workers that Kubernetes has yet to remove, and since when."""
    before = state.leaving
    if is_behind(sight, state.asked):
        # A previous operator may have marked some of them.
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


def observed(state: ScalingState, sight: Sight) -> tuple[ObservedWorker, ...]:
    """Return all workers except those that are leaving."""
    return tuple(
        _worker(pod, sight, state) for pod in sight.staying if pod.name not in state.leaving
    )


def _worker(pod: Pod, sight: Sight, state: ScalingState) -> ObservedWorker:
    # The worker's own report comes first: Kubernetes may not have noticed yet that it runs.
    report = sight.reports.get(pod.name)
    age = None if pod.created is None else max(0.0, sight.epoch - pod.created)
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
        cordoned=state.cordons.has(report, now=sight.now),
        age=age,
        slots=report.slots,
        busy=report.busy,
        ready=pod.ready,
    )


def ordered(
    state: ScalingState, sight: Sight, *, new_id: Callable[[], str]
) -> tuple[ScalingState, Orders]:
    """Return orders to take no jobs, to take jobs again, or to drain if the worker's pod ends."""
    ending = [pod.name for pod in sight.pods if pod.ending]
    draining = drains(sight.reports, ending=ending)
    if state.decision is None or not (sight.reports or state.cordons.ordered):
        return state, draining
    reports: dict[str, WorkerReport] = {
        pod.name: report for pod in sight.staying if (report := sight.reports.get(pod.name))
    }
    cordons, orders = followed(
        state.cordons,
        state.decision,
        reports=reports,
        leaving=state.leaving,
        now=sight.now,
        new_id=new_id,
    )
    return replace(state, cordons=cordons), (*draining, *orders)


def _noted(state: ScalingState, sight: Sight) -> ScalingState:
    """Return the state with the obstacles that keep workers from starting."""
    deployment, pods = sight.deployment, sight.staying
    asked = asked_for(deployment, state.asked)
    lacking = missing(state.missing, replicas=asked, pods=len(pods), now=sight.now)
    since = state.since.seen(
        refused=deployment is not None and deployment.refused is not None,
        unready=bool(asked) and not any(pod.ready for pod in pods),
        halted=bool(state.ready) and not asked and not pods,
        now=sight.now,
    )
    scene = Scene(
        pods=pods,
        remains=sight.remains,
        missing=lacking.count if lacking else 0,
        is_rolling=deployment is not None and deployment.is_rolling,
        refused=deployment.refused if deployment else None,
        stuck=deployment.stuck if deployment else None,
        words=sight.words,
        startup=state.recent.startup,
        now=sight.now,
        epoch=sight.epoch,
    )
    return replace(state, missing=lacking, since=since, obstacle=obstacle(scene, since))


def is_due(state: ScalingState, sight: Sight) -> bool:
    """Return whether the decision needs a call to Kubernetes even if there are no pods."""
    decision, before = state.decision, asked_for(sight.deployment, state.asked)
    if decision is None:
        return False
    is_other = False
    if decision.replicas is not None and before is not None:
        refusals, to = state.refusals, decision.replicas
        is_other = refusals.most(to, before=before, now=sight.now) > before or (
            decision.free > 0 and not refusals.holds(to=to, before=before, now=sight.now)
        )
    return is_other or (decision.holds not in LEFT_ALONE and is_misfit(state, sight))


def is_misfit(state: ScalingState, sight: Sight) -> bool:
    """Return whether the Deployment's strategy must be written and was not refused just now."""
    found = latest(sight.deployment, state.asked)
    if found is None or not is_unfit(sight, state.asked, ceiling=state.ceiling):
        return False
    return not state.refusals.holds(to=found.replicas, before=found.replicas, now=sight.now)


def going(decision: Decision, state: ScalingState, sight: Sight) -> tuple[Pod, ...]:
    """Return the workers in `decision.remove` that are still proved idle or have no process yet."""
    return tuple(
        pod
        for pod in sight.staying
        if pod.name in decision.remove
        and (
            state.cordons.is_proved_idle(sight.reports.get(pod.name), now=sight.now)
            or (not pod.running and pod.name not in sight.reports)
        )
    )
