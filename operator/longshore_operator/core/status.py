"""Turns what is known about a TaskQueue or a Broker into the status that users see."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from longshore.contract.features import Features
from longshore.contract.timing import Timeouts
from longshore_operator.api.v1alpha1 import BrokerFeatures, Condition, DerivedTimeouts, Priorities
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling import Decision
from longshore_operator.trouble import Trouble

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known about a TaskQueue. If a trouble is None, all is well."""

    broker_trouble: Trouble | None
    queue_trouble: Trouble | None
    """Why its queues do not match the spec; one reason is that the spec cannot be read."""

    worker_trouble: Trouble | None
    is_declared: bool
    """Whether the current spec has been declared in RabbitMQ; if that failed, `queue_trouble` says
    why."""

    pods: tuple[Pod, ...]
    replicas: int | None
    decision: Decision | None
    asked: int | None = None
    """Workers last requested from Kubernetes, even if the watch does not show it yet; None is
    unknown."""

    silent: tuple[str, ...] = ()
    """Ready workers that do not report."""

    crash: Trouble | None = None
    """How a container ended that was restarted only a moment ago."""

    obstacle: Trouble | None = None
    """Why workers are missing, beyond what their pods report."""

    refused: Trouble | None = None
    """Why Kubernetes does not accept the requested number of workers."""

    is_halted: bool = False
    """Jobs wait, and for more than a moment there has been no worker, and none was requested."""

    alarm: Trouble | None = None
    """Why the Broker blocks publishers although it answers."""

    blockage: Trouble | None = None
    """Why the queue accepts no jobs although it is declared."""

    broker_version: str | None = None
    policy_trouble: Trouble | None = None
    shortcomings: tuple[str, ...] | None = None
    """What cannot be guaranteed on a queue that was taken over; None for a queue that Longshore
    declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    type: str
    status: ConditionStatus
    reason: str
    message: str


def conditions(
    facts: Facts, *, generation: int, before: Iterable[Condition], now: str
) -> tuple[Condition, ...]:
    """Return all conditions of a TaskQueue; those that changed get `now`, which is RFC 3339."""
    parts = (_broker(facts), _queue(facts), _workers(facts), _scaling(facts))
    is_declared = facts.is_declared and not facts.queue_trouble and not facts.broker_trouble
    more = (*([policy_condition(facts.policy_trouble)] if is_declared else []), *_guarantees(facts))
    return stamped((_ready(parts), *parts, *more), generation=generation, before=before, now=now)


def broker_condition(trouble: Trouble | None, *, version: str | None) -> _State:
    """Return the `Ready` condition of a Broker."""
    if trouble:
        return _State(type="Ready", status="False", reason=trouble.reason, message=trouble.message)
    return _State(
        type="Ready", status="True", reason="Connected", message=f"RabbitMQ {version} answers"
    )


def policy_condition(trouble: Trouble | None) -> _State:
    """Return the `PolicyInForce` condition of a TaskQueue or Broker whose queues are declared."""
    kind = "PolicyInForce"
    if trouble:
        return _State(type=kind, status="False", reason=trouble.reason, message=trouble.message)
    message = "no foreign policy overrides Longshore's"
    return _State(type=kind, status="True", reason="InForce", message=message)


def stamped(
    states: Iterable[_State], *, generation: int, before: Iterable[Condition], now: str
) -> tuple[Condition, ...]:
    """Return conditions whose transition time changes only if their status does."""
    known = {condition.type: condition for condition in before}
    return tuple(
        Condition(
            type=state.type,
            status=state.status,
            reason=state.reason,
            message=state.message[:_MAX_MESSAGE],
            observed_generation=generation,
            last_transition_time=old.last_transition_time
            if (old := known.get(state.type)) and old.status == state.status
            else now,
        )
        for state in states
    )


def foreign_policy(winning: Mapping[str, str], *, features: Features) -> Trouble | None:
    """Return the consequence of foreign policies that win, by queue; None if there are none."""
    if not winning:
        return None
    which = ", ".join(f"policy {policy!r} for queue {queue}" for queue, policy in winning.items())
    lost = "length, age, dead-lettering and delivery limit"
    if not features.ack_timeout_by_consumer:
        lost = "length, age, dead-lettering, delivery limit and ack timeout"
    return Trouble(
        reason="ForeignPolicy",
        message=f"foreign {which} overrides Longshore's: {lost} no longer follow the spec; "
        "lower its priority, or exclude the queue from its pattern",
    )


def foreign_shared_policy(winning: Mapping[str, str]) -> Trouble | None:
    """Return the same for the queues that all TaskQueues share."""
    if not winning:
        return None
    which = ", ".join(sorted({repr(policy) for policy in winning.values()}))
    return Trouble(
        reason="ForeignPolicy",
        message=f"foreign policy {which} is in force for {len(winning)} queues that hold delayed "
        "jobs, which may be lost or arrive too early; lower its priority, or exclude longshore.* "
        "from its pattern",
    )


def derived_timeouts(timeouts: Timeouts) -> DerivedTimeouts:
    """Return the timeout chain as users see it."""
    return DerivedTimeouts(
        soft_limit=timeouts.soft_limit,
        hard_limit=timeouts.hard_limit,
        gone=timeouts.gone,
        ack_timeout=timeouts.ack_timeout,
        prefetch=timeouts.prefetch,
        termination_grace=timeouts.termination_grace,
    )


def broker_features(features: Features) -> BrokerFeatures:
    """Return the features of a version as users see them."""
    return BrokerFeatures(
        ack_timeout_by_consumer=features.ack_timeout_by_consumer,
        nack_is_free=features.nack_is_free,
        strict_priorities=features.strict_priorities,
    )


def priorities(features: Features) -> Priorities:
    """Return how jobs of different priority are ordered, as users see it."""
    return Priorities.STRICT if features.strict_priorities else Priorities.TWO_CLASSES


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7396) from `before` to `after`; empty if they are equal."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if part := merge_patch(old, value):
                patch[name] = part
        elif name not in before or old != value:
            patch[name] = value
    return patch


INVALID_SPEC = "InvalidSpec"
"""Reason of a spec that the API server has accepted and the operator cannot read."""

_MAX_MESSAGE = 4096
PASSING = frozenset({"Starting", "DeploymentUnknown"})
"""Reasons for missing workers that occur in normal operation."""

FAULTS = frozenset({"PolicyUnknown", "PolicyFailed"})
"""Reasons for holding because of which no worker would ever be requested."""

TOLD = frozenset({"BudgetUnknown", "ForeignAutoscaler", "WorkersSilent", "ScaleRefused"}) | FAULTS
"""Reasons for not scaling that the user has not chosen."""


def _broker(facts: Facts) -> _State:
    kind = "BrokerReachable"
    if facts.broker_trouble:
        status: ConditionStatus = (
            "Unknown" if facts.broker_trouble.reason == "Connecting" else "False"
        )
        return _State(
            type=kind,
            status=status,
            reason=facts.broker_trouble.reason,
            message=facts.broker_trouble.message,
        )
    if facts.alarm:
        return _failed(kind, facts.alarm)
    message = f"RabbitMQ {facts.broker_version} answers"
    return _State(type=kind, status="True", reason="Connected", message=message)


def _failed(kind: str, trouble: Trouble) -> _State:
    return _State(type=kind, status="False", reason=trouble.reason, message=trouble.message)


def _queue(facts: Facts) -> _State:
    kind = "QueueDeclared"
    if trouble := facts.queue_trouble or facts.blockage:
        return _failed(kind, trouble)
    if facts.is_declared:
        message = "queues, bindings, policies and users are in place"
        return _State(type=kind, status="True", reason="Declared", message=message)
    return _State(
        type=kind,
        status="Unknown",
        reason="Pending",
        message="this spec is not declared in RabbitMQ yet",
    )


def _guarantees(facts: Facts) -> tuple[_State, ...]:
    """Only for a queue that was taken over."""
    if facts.shortcomings is None:
        return ()
    kind = "Guaranteed"
    if facts.shortcomings:
        message = "on the queue that was taken over: " + "; ".join(facts.shortcomings)
        return (_State(type=kind, status="False", reason="AdoptedQueue", message=message),)
    message = "the queue that was taken over gives every guarantee"
    return (_State(type=kind, status="True", reason="AdoptedQueue", message=message),)


def _workers(facts: Facts) -> _State:
    kind = "WorkersReady"
    active = [pod for pod in facts.pods if not pod.ending]
    ready = sum(pod.ready for pod in active)
    replicas = facts.replicas if facts.asked is None else facts.asked
    trouble = facts.worker_trouble or next((pod.trouble for pod in active if pod.trouble), None)
    if trouble := trouble or facts.crash or facts.obstacle:
        message = trouble.message
        if ready and replicas:
            message = f"{ready} of {replicas} workers are ready; {message}"
        return _State(type=kind, status="False", reason=trouble.reason, message=message)
    if replicas is None:
        return _State(
            type=kind,
            status="Unknown",
            reason="DeploymentUnknown",
            message="the Deployment is not known yet",
        )
    if ready and replicas:
        message = f"{ready} of {replicas} workers are ready"
        return _State(type=kind, status="True", reason="Ready", message=message)
    if not replicas and (halt := _halt(facts)):
        return _State(type=kind, status="False", reason=halt.reason, message=halt.message)
    wanted = facts.decision.wanted if facts.decision else None
    if replicas or wanted:
        message = f"0 of {replicas or wanted} workers are ready"
        return _State(type=kind, status="False", reason="Starting", message=message)
    message = "no workers are needed" if wanted == 0 else "no workers are requested"
    return _State(type=kind, status="True", reason="ScaledToZero", message=message)


def _halt(facts: Facts) -> Trouble | None:
    """Return why no worker is requested although some should be."""
    decision = facts.decision
    if facts.refused:
        return facts.refused
    if decision is None:
        return None
    said = decision.why[-1] if decision.why else "the number is left alone"
    if decision.holds in FAULTS:
        return Trouble(reason=decision.holds or "", message=f"no worker is requested: {said}")
    if not facts.is_halted:
        return None
    if decision.holds:
        return Trouble(
            reason=decision.holds, message=f"jobs are waiting, but no worker is requested: {said}"
        )
    if decision.trouble:
        message = f"jobs are waiting, but no worker is requested: {decision.trouble.message}"
        return Trouble(reason=decision.trouble.reason, message=message)
    if decision.wanted == 0:
        lowered = [line for line in decision.why if line.endswith("lowers it to 0")]
        said = lowered[0] if lowered else "; ".join(decision.why)
        return Trouble(
            reason="LimitedToZero", message=f"jobs are waiting, but no worker is requested: {said}"
        )
    return None


def _scaling(facts: Facts) -> _State:
    kind = "ScalingActive"
    if facts.broker_trouble:
        message = "the Broker does not answer: the number of workers is left alone"
        return _State(type=kind, status="False", reason="BrokerUnreachable", message=message)
    decision = facts.decision
    if facts.queue_trouble and facts.queue_trouble.reason == INVALID_SPEC:
        message = "the spec cannot be read: the number of workers is left alone"
        return _State(type=kind, status="False", reason=INVALID_SPEC, message=message)
    if decision is None:
        return _State(
            type=kind, status="Unknown", reason="Pending", message="nothing has been decided yet"
        )
    if decision.holds:
        return _State(type=kind, status="False", reason=decision.holds, message=decision.why[-1])
    if trouble := facts.refused or decision.trouble:
        return _State(type=kind, status="False", reason=trouble.reason, message=trouble.message)
    if facts.silent:
        message = (
            f"{len(facts.silent)} workers are ready but do not report, {facts.silent[0]} among "
            "them: no worker is removed until they do"
        )
        return _State(type=kind, status="False", reason="WorkersSilent", message=message)
    return _State(
        type=kind, status="True", reason="Scaling", message="the number of workers follows the work"
    )


def _ready(parts: Iterable[_State]) -> _State:
    """Return `Ready`, which is True if jobs are accepted and will be processed.

    It stays True while workers are starting, and while the scaler holds if there are workers or no
    job waits.
    """
    broker, queue, workers, _ = parts
    for part in (broker, queue, workers):
        if part.status != "True" and part.reason not in PASSING:
            return _State(
                type="Ready", status=part.status, reason=part.reason, message=part.message
            )
    return _State(type="Ready", status="True", reason="Ready", message="jobs are accepted")
