"""Workers of a tenant as `kubectl get pods` shows them."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from dev.errors import CommandFailed, NotReady
from dev.kube import wait_for
from tests.e2e.tenant import Tenant

QUICK = {
    "policy": "backlog",
    "min": 0,
    "max": 3,
    "idleGrace": "2s",
    "steadyFor": "2s",
    "minLife": "0s",
}
"""Workers go as soon as they have no work."""


def log_of(tenant: Tenant, pod: str) -> str:
    try:
        return tenant.kube.logs(pod, namespace=tenant.namespace)
    except CommandFailed:
        return ""


def staying(tenant: Tenant, name: str = "work") -> set[str]:
    """Names of the pods that were not asked to end."""
    pods = [pod["metadata"] for pod in tenant.pods(name)]
    return {pod["name"] for pod in pods if "deletionTimestamp" not in pod}


def wait_for_workers(tenant: Tenant, count: int, name: str = "work") -> set[str]:
    """The pods that stay, once they are so many."""
    what = f"{count} workers of {name}"
    wait_for(what, lambda: len(staying(tenant, name)) == count, seconds=60)
    return staying(tenant, name)


def worker_of(tenant: Tenant, job: str, name: str = "work") -> str:
    """The pod that has begun a job that prints something."""
    found = wait_for(
        f"{job} has begun",
        lambda: [pod for pod in staying(tenant, name) if job in log_of(tenant, pod)],
        seconds=60,
    )
    return found[0]


def wait_for_pods(tenant: Tenant, names: set[str], *, seconds: float = 60) -> None:
    wait_for(f"only {names} stay", lambda: staying(tenant) == names, seconds=seconds)


def wait_for_reason(tenant: Tenant, reason: str, name: str) -> str:
    """What the condition ScalingActive says, once it has this reason."""

    def look() -> str | None:
        found = tenant.condition("ScalingActive", name)
        return found["message"] if found.get("reason") == reason else None

    return wait_for(f"{name}: ScalingActive {reason}", look, seconds=60)


def wait_for_line(tenant: Tenant, words: str, name: str) -> dict[str, Any]:
    """`status.scaling` of a TaskQueue, once a line of its reasons has these words."""

    def look() -> dict[str, Any] | None:
        scaling = tenant.status(name).get("scaling") or {}
        return scaling if any(words in line for line in scaling.get("why", ())) else None

    try:
        return wait_for(f"{name}: a line with {words!r}", look, seconds=60)
    except NotReady as error:
        raise NotReady(f"{error}; there is {tenant.status(name).get('scaling')}") from None


def wait_for_current(tenant: Tenant, count: int, name: str = "work") -> None:
    """Wait until the operator's last tick saw so many workers."""

    def look() -> bool:
        return (tenant.status(name).get("scaling") or {}).get("current") == count

    wait_for(f"{name}: scaling.current {count}", look, seconds=90)


def deployment(tenant: Tenant, name: str = "work") -> dict[str, Any]:
    return tenant.kube.get("deployment", f"{name}-worker", f"--namespace={tenant.namespace}")


def events_of(tenant: Tenant, name: str) -> Counter[str]:
    """How often each reason was an Event of this TaskQueue."""
    events = tenant.kube.get("events", f"--namespace={tenant.namespace}")["items"]
    about = [event for event in events if event["involvedObject"].get("kind") == "TaskQueue"]
    return Counter(event["reason"] for event in about if event["involvedObject"]["name"] == name)


class Most:
    """The most that was ever seen of a number, each time one looks."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self.seen = 0

    def look(self) -> int:
        count = self._count()
        self.seen = max(self.seen, count)
        return count
