"""From what is observed to what is done: policy, bounds, stability, and who goes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling.limits import Limit, bounded
from longshore_operator.core.scaling.memory import Memory, changed, peaked, remembered
from longshore_operator.core.scaling.observation import Observation, Worker
from longshore_operator.core.scaling.policies import (
    BUILT_IN,
    PRIOR_STARTUP,
    Policy,
    Situation,
)
from longshore_operator.core.scaling.victims import chosen

TRUSTED = 3
"""Jobs after which the measured time that a job takes is believed as much as the guess was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now."""

    replicas: int | None
    """Workers to ask of Kubernetes; None is: leave it as it is, whatever it is. Less than now only
    by those in `remove`."""

    why: tuple[str, ...]
    holds: str | None = None
    """One word for why the number is left alone: `Paused`, `DryRun`, `DepthUnknown`,
    `DeploymentUnknown`, `PolicyUnknown`, `PolicyFailed`."""

    wanted: int | None = None
    """Workers that there should be, whether or not that can be had now; None is unknown."""

    claim: int | None = None
    """Workers that there should be if there were no budget."""

    cordon: tuple[str, ...] = ()
    """Idle workers that shall take no new jobs."""

    uncordon: tuple[str, ...] = ()
    """Cordoned workers that are needed after all."""

    remove: tuple[str, ...] = ()
    """Workers that hold nothing and will take nothing: cordoned, or without a process yet."""

    memory: Memory | None = None
    """To be passed to the next decision."""


def decide(
    scaling: Scaling,
    *,
    slots: int,
    observation: Observation,
    memory: Memory | None,
    now: float,
    limits: Iterable[Limit] = (),
    policies: Mapping[str, Policy] = BUILT_IN,
) -> Decision:
    """How many workers `scaling` wants for what is observed, and who goes if there are too many.

    `slots` is what one worker runs at the same time; `memory` comes from the decision before;
    `limits` are what schedules and budgets say now.
    """
    service, startup = _service(scaling, observation), _startup(observation)
    memory = remembered(memory, observation=observation, service=service, now=now)
    hold = partial(_hold, memory=memory, observation=observation)
    ready, replicas = observation.ready, observation.replicas
    if scaling.paused:
        return hold("Paused", "scaling.paused is true: the number of workers is left alone")
    if replicas is None:
        return hold("DeploymentUnknown", "the Deployment is not known yet")
    if ready is None:
        return hold("DepthUnknown", "the number of waiting jobs is unknown, which is not 0")
    policy = policies.get(scaling.policy)
    if policy is None:
        known = ", ".join(sorted(policies))
        text = f"scaling.policy {scaling.policy!r} is not installed in the operator; it has {known}"
        return hold("PolicyUnknown", text)
    try:
        answer = policy(
            Situation(
                scaling=scaling,
                ready=ready,
                held=observation.held,
                workers=replicas,
                slots=slots,
                service=service,
                startup=startup,
                arrivals=memory.rate,
            )
        )
        wanted, why = max(0, answer.workers), answer.why
    except Exception as error:  # somebody else's code
        text = f"scaling.policy {scaling.policy!r} failed: {error!r}"
        return hold("PolicyFailed", text)
    count, ceiling, lines = bounded(wanted, scaling=scaling, limits=limits)
    why += lines
    memory = peaked(memory, wanted=count, replicas=replicas, window=scaling.steady_for)
    count, lines = _steadied(
        count, scaling=scaling, ceiling=ceiling, memory=memory, startup=startup, now=now
    )
    why += lines
    if scaling.dry_run:
        text = f"scaling.dryRun is true: {count} workers are wanted, and nothing is done"
        return replace(hold("DryRun", text), wanted=count, why=(*why, text))
    return _carried_out(
        count,
        replicas=replicas,
        scaling=scaling,
        workers=observation.workers,
        memory=memory,
        why=why,
        now=now,
    )


def _hold(reason: str, why: str, *, memory: Memory, observation: Observation) -> Decision:
    # Who was cordoned to go works again where the user says that nothing shall be done.
    idle = reason in ("Paused", "DryRun")
    cordoned = tuple(worker.name for worker in observation.workers if worker.cordoned)
    return Decision(
        replicas=None, why=(why,), holds=reason, memory=memory, uncordon=cordoned if idle else ()
    )


def _service(scaling: Scaling, observation: Observation) -> float:
    """Seconds that a job takes. The guess is `maxQueueWait`: a fleet for jobs of that length is
    neither one for each job nor too small by much."""
    measured, guess = observation.service, scaling.max_queue_wait
    if measured is None or measured.count <= 0:
        return guess
    weight = measured.count / (measured.count + TRUSTED)
    return max(0.001, measured.mean * weight + guess * (1 - weight))


def _startup(observation: Observation) -> float:
    return PRIOR_STARTUP if observation.startup is None else observation.startup


def _steadied(
    count: int,
    *,
    scaling: Scaling,
    ceiling: int,
    memory: Memory,
    startup: float,
    now: float,
) -> tuple[int, tuple[str, ...]]:
    """The most that was wanted lately, while work goes on."""
    grace = idle_grace(scaling, startup=startup)
    if memory.idle_since is not None and now - memory.idle_since >= grace:
        return count, (f"nothing waited or ran for {grace:g} s",)
    most = min(memory.peaks[0][1], ceiling)
    if most <= count:
        return count, ()
    return most, (f"{most} were wanted within scaling.steadyFor = {scaling.steady_for:g} s",)


def idle_grace(scaling: Scaling, *, startup: float) -> float:
    """Seconds without any work after which workers go."""
    if scaling.idle_grace is not None:
        return scaling.idle_grace
    return min(max(GRACE_PER_STARTUP * startup, 5.0), scaling.steady_for)


GRACE_PER_STARTUP = 4.0
"""To keep a worker for a while costs what starting it anew does, a few times over."""


def _carried_out(
    count: int,
    *,
    replicas: int,
    scaling: Scaling,
    workers: tuple[Worker, ...],
    memory: Memory,
    why: tuple[str, ...],
    now: float,
) -> Decision:
    growth = changed(memory.growth, by=0, now=now)
    shrinkage = changed(memory.shrinkage, by=0, now=now)
    target, removable = count, max(0, replicas - count)
    if scaling.max_growth is not None and count > replicas:
        left = max(0, scaling.max_growth - sum(by for _, by in growth))
        if count - replicas > left:
            target = replicas + left
            why += (f"scaling.maxGrowth = {scaling.max_growth} in a minute lowers it to {target}",)
    if scaling.max_shrinkage is not None and removable:
        left = max(0, scaling.max_shrinkage - sum(by for _, by in shrinkage))
        if removable > left:
            removable = left
            why += (
                f"scaling.maxShrinkage = {scaling.max_shrinkage} in a minute keeps "
                f"{replicas - left}",
            )
    choice = chosen(
        workers,
        surplus=replicas - target,
        removable=removable,
        min_life=scaling.min_life,
    )
    after = max(target, replicas) - len(choice.remove)
    memory = replace(
        memory,
        growth=changed(growth, by=max(0, after - replicas), now=now),
        shrinkage=changed(shrinkage, by=len(choice.remove), now=now),
    )
    if after > count:
        why += (f"stays at {after}",) if after == replicas else (f"goes down to {after}",)
    return Decision(
        replicas=after,
        wanted=count,
        claim=count,
        why=(*why, *choice.why),
        cordon=choice.cordon,
        uncordon=choice.uncordon,
        remove=choice.remove,
        memory=memory,
    )
