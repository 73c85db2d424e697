"""Turns an observation into a decision: policy, limits, stability, and the workers to remove."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling.limits import Limit, Lines, bounded, slowed, steadied
from longshore_operator.core.scaling.memory import Memory, lately, recalled, with_peak
from longshore_operator.core.scaling.observation import Observation, ObservedWorker
from longshore_operator.core.scaling.policies import (
    BUILT_IN,
    Policy,
    Situation,
    service_of,
    startup_of,
)
from longshore_operator.core.scaling.victims import Choice, all_or_none, chosen
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do now."""

    replicas: int | None
    """Workers to request from Kubernetes; None leaves the number as it is. It is lower than now
    only by `free` and by workers in `remove`."""

    why: Lines
    holds: str | None = None
    """The reason, in one word, why the number is left alone: `Paused`, `DryRun`, `DepthUnknown`,
    `DeploymentUnknown`, `PolicyUnknown`, `PolicyFailed`, or a reason of the caller."""

    trouble: Trouble | None = None
    """A mistake in a limit of the number."""

    wanted: int | None = None
    """Workers that there should be, whether or not that is possible now; None is unknown."""

    claim: int | None = None
    """The number wanted within all limits except shares; a budget is divided by it."""

    cordon: tuple[str, ...] = ()
    """Idle workers that should take no new jobs."""

    uncordon: tuple[str, ...] = ()
    """Cordoned workers that are needed after all."""

    remove: tuple[str, ...] = ()
    """Workers that hold no job and will take none: they are cordoned, or have no process yet.
    During a rollout these are all workers, of which Kubernetes removes some."""

    free: int = 0
    """Replicas without a pod that are given up, which affects no worker."""

    memory: Memory | None = field(default=None, compare=False)
    """To be passed to the next decision. It is ignored when decisions are compared."""


def decide(
    scaling: Scaling,
    *,
    slots: int,
    observation: Observation,
    memory: Memory | None,
    now: float,
    limits: Sequence[Limit] = (),
    policies: Mapping[str, Policy] = BUILT_IN,
) -> Decision:
    """Decide how many workers `scaling` wants for what is observed, and which of them to remove.

    `slots` is the number of jobs that one worker runs at the same time. `memory` comes from the
    previous decision. `limits` are those of windows and budgets at this time. `policies` are all
    that are installed.
    """
    service, startup = service_of(scaling, observation), startup_of(observation)
    memory = recalled(memory, observation=observation, service=service, now=now)
    ready, replicas = observation.ready, observation.replicas
    if scaling.paused:
        text = "scaling.paused is true: the number of workers is left alone"
        return _hold("Paused", text, memory=memory, uncordon=_cordoned(observation))
    if replicas is None:
        return _hold("DeploymentUnknown", "the Deployment is not known yet", memory=memory)
    if ready is None:
        text = "the number of waiting jobs is unknown, which does not mean 0"
        return _hold("DepthUnknown", text, memory=memory)
    policy = policies.get(scaling.policy)
    if policy is None:
        text = f"scaling.policy {scaling.policy!r} is not installed; use one of {sorted(policies)}"
        return _hold("PolicyUnknown", text, memory=memory)
    situation = Situation(
        scaling=scaling,
        ready=ready,
        held=observation.held,
        running=observation.running,
        workers=replicas,
        slots=slots,
        service=service,
        startup=startup,
        arrivals=memory.rate,
        stalled=0.0 if memory.stalled_since is None else now - memory.stalled_since,
    )
    try:
        wanted = policy(situation)
        asked, reasons = max(0, int(wanted.workers)), tuple(map(str, wanted.why))
    except Exception as error:  # a plug-in's code may raise anything
        text = f"scaling.policy {scaling.policy!r} failed: {error!r}"
        return _hold("PolicyFailed", text, memory=memory)
    within = bounded(asked, scaling=scaling, limits=limits)
    own = [limit for limit in limits if not limit.is_share]
    claim = bounded(asked, scaling=scaling, limits=own).count
    memory = with_peak(memory, wanted=within.count, replicas=replicas, window=scaling.steady_for)
    count, steady = steadied(
        within.count,
        replicas=replicas,
        ceiling=within.ceiling,
        scaling=scaling,
        memory=memory,
        # Removed workers would return one by one, not all at once as they may have started.
        startup=startup if observation.quickest is None else observation.quickest,
    )
    why = (*reasons, *within.why, *steady)
    if scaling.dry_run:
        text = f"scaling.dryRun is true: {count} workers are wanted, and nothing is done"
        hold = _hold("DryRun", *why, text, memory=memory, uncordon=_cordoned(observation))
        return replace(hold, wanted=count)
    decision = Decision(
        replicas=replicas,
        wanted=count,
        claim=claim,
        why=why,
        trouble=next((limit.trouble for limit in limits if limit.trouble), None),
        memory=memory,
    )
    if count == replicas and not any(worker.cordoned for worker in observation.workers):
        return decision
    return _carried_out(decision, scaling=scaling, observation=observation, memory=memory)


def _hold(reason: str, *why: str, memory: Memory, uncordon: tuple[str, ...] = ()) -> Decision:
    return Decision(replicas=None, why=why, holds=reason, memory=memory, uncordon=uncordon)


def _cordoned(observation: Observation) -> tuple[str, ...]:
    """Return the cordoned workers: they work again if the user wants no change."""
    return tuple([worker.name for worker in observation.workers if worker.cordoned])


def _carried_out(
    decision: Decision, *, scaling: Scaling, observation: Observation, memory: Memory
) -> Decision:
    """Return the decision with the changes that are possible now."""
    replicas, wanted = decision.replicas or 0, decision.wanted or 0
    added, removed = lately(memory.added, now=memory.at), lately(memory.removed, now=memory.at)
    growth, faster = slowed(
        wanted - replicas, name="scaling.maxGrowth", most=scaling.max_growth, lately=added
    )
    surplus = max(0, replicas - wanted)
    # Replicas without a pod are given up first; only the rest is taken from workers.
    spare = 0 if observation.is_rolling else min(surplus, observation.podless)
    free = max(0, min(spare, observation.podless - observation.unseen))
    going, slower = slowed(
        surplus - spare, name="scaling.maxShrinkage", most=scaling.max_shrinkage, lately=removed
    )
    choice = _choice(
        observation,
        replicas=replicas,
        surplus=surplus - spare,
        removable=max(0, going),
        min_life=scaling.min_life,
    )
    after = replicas + max(0, growth) - free - choice.going
    if scaling.max_growth is not None and after > replicas:
        memory = replace(memory, added=(*added, (memory.at, after - replicas)))
    if scaling.max_shrinkage is not None and choice.going:
        memory = replace(memory, removed=(*removed, (memory.at, choice.going)))
    given_up = (
        (f"gives up {free} replicas for which Kubernetes has created no pod",) if free else ()
    )
    return replace(
        decision,
        replicas=after,
        why=(*decision.why, *faster, *slower, *given_up, *choice.why),
        cordon=choice.cordon,
        uncordon=choice.uncordon,
        remove=choice.remove,
        free=free,
        memory=memory,
    )


def _choice(
    observation: Observation, *, replicas: int, surplus: int, removable: int, min_life: float
) -> Choice:
    if observation.is_rolling:
        return all_or_none(
            observation.workers,
            replicas=replicas,
            surplus=surplus,
            removable=removable,
            jobs_wait=observation.ready != 0,
            min_life=min_life,
        )
    return chosen(observation.workers, surplus=surplus, removable=removable, min_life=min_life)


def without_shrink(
    decision: Decision, workers: Iterable[ObservedWorker], *, replicas: int, why: str
) -> Decision:
    """Return `decision` with `replicas` kept and no worker removed, for the reason `why`."""
    if decision.replicas is None or not (
        decision.cordon or decision.remove or decision.uncordon or decision.replicas < replicas
    ):
        return decision
    return replace(
        decision,
        replicas=max(decision.replicas, replicas),
        cordon=(),
        remove=(),
        free=0,
        uncordon=tuple(worker.name for worker in workers if worker.cordoned),
        why=(*decision.why, why),
    )


def held(
    decision: Decision, workers: Iterable[ObservedWorker], *, reason: str, why: str
) -> Decision:
    """Return `decision` with nothing to do, for the reason `why`; `reason` is one word."""
    return replace(
        decision,
        replicas=None,
        holds=reason,
        claim=None,
        cordon=(),
        remove=(),
        free=0,
        uncordon=tuple(worker.name for worker in workers if worker.cordoned),
        why=(*decision.why, why),
    )
