"""What Kubernetes says about pods that it does not make, and about rollouts that do not end."""

from collections.abc import Mapping
from typing import Any

from longshore_operator.core.pods import Trouble


def pods_refused(status: Mapping[str, Any]) -> Trouble | None:
    """Why a Deployment with this status lacks pods: a quota, an admission rule, a missing account.

    Kubernetes takes the condition away with the next pod that it could make.
    """
    found = _condition(status, "ReplicaFailure")
    if found.get("status") != "True":
        return None
    said = found.get("message") or "no message"
    return Trouble(
        reason=found.get("reason") or "FailedCreate",
        message=f"Kubernetes refuses pods: {said}",
    )


def rollout_stuck(status: Mapping[str, Any]) -> Trouble | None:
    """Why a Deployment with this status makes no progress: its deadline has passed (10 minutes), or
    it cannot make a ReplicaSet."""
    found = _condition(status, "Progressing")
    if found.get("status") != "False":
        return None
    said = found.get("message") or "no message"
    return Trouble(
        reason=found.get("reason") or "ProgressDeadlineExceeded",
        message=f"the Deployment makes no progress: {said}",
    )


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    return next(
        (each for each in status.get("conditions") or () if each.get("type") == type_),
        {},
    )
