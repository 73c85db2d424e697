"""How soon a TaskQueue says what keeps its workers from running."""

from __future__ import annotations

from datetime import datetime

from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL
from tests.e2e.obstacles import CAUSES, Stage

SOON = 15.0
"""Seconds after which everybody can see what is wrong."""

SILENT = 35.0
"""Those after which they see that something is, where nobody says what."""


def limit(name: str) -> float:
    """Seconds that this cause may stay unsaid."""
    return SILENT if CAUSES[name].is_silent else SOON


def told(stage: Stage, name: str) -> dict[str, str] | None:
    """The condition Ready, once it says what it should of this cause."""
    cause = CAUSES[name]
    ready = stage.condition("Ready", name)
    is_told = ready.get("status") == "False" and ready.get("reason") == cause.reason
    return ready if is_told and cause.says in ready["message"] else None


def took(stage: Stage, name: str, ready: dict[str, str]) -> float:
    """Seconds from when it could be known that no worker will run. Kubernetes writes whole ones."""
    return _seconds(ready["lastTransitionTime"]) - _began(stage, name)


def _began(stage: Stage, name: str) -> float:
    if name in stage.published:
        return stage.published[name]
    tenant = stage.tenant(name)
    where = (f"--namespace={tenant.namespace}", f"--selector={TASK_QUEUE_LABEL}={name}")
    made = [tenant.kube.get("tq", name, f"--namespace={tenant.namespace}")]
    made += tenant.kube.get("deployments", *where)["items"] + tenant.pods(name)
    return max(_seconds(each["metadata"]["creationTimestamp"]) for each in made)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
