"""Decisions that are only half carried out, or not at all, for reasons outside of the decision."""

from collections.abc import Iterable
from dataclasses import replace

from longshore_operator.core.scaling import Decision, ObservedWorker


def without_shrink(
    decision: Decision, workers: Iterable[ObservedWorker], *, replicas: int, why: str
) -> Decision:
    """`decision` but that `replicas` stay and nobody goes, for a reason."""
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
    """`decision` but that nothing is done, for a reason; `reason` is one word."""
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
