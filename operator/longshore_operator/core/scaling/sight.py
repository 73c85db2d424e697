"""What the scaling loop sees of one TaskQueue at one moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from longshore.contract.reports import WorkerReport
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.kubernetes.rollout import Rollout, rollout
from longshore_operator.core.rabbitmq.depth import Depth, Missing
from longshore_operator.core.scaling.limits import Limit
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was set on the Deployment, and the generation that this gave it."""

    replicas: int
    rollout: Rollout
    generation: int
    uid: str
    """Uid of the Deployment: one that is recreated counts its generations from 1 again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One TaskQueue as the watches, its queue and its workers show it."""

    key: tuple[str, str]
    """Namespace and name."""

    deployment: DeploymentObject | None
    pods: tuple[Pod, ...]
    reports: Mapping[str, WorkerReport]
    """The latest report of each worker that has reported recently, by pod."""

    now: float
    """Seconds of a monotonic clock."""

    epoch: float = 0.0
    """The same moment in seconds since the epoch."""

    queue: str = ""
    """Name of the job queue."""

    jobs: Depth | Missing | None = None
    """Its depth; None is unknown."""

    dead: Depth | Missing | None = None
    """Depth of the dead-letter queue; None is unknown or was not read."""

    has_quorum: bool = True
    """Whether most members of the job queue run."""

    is_declared: bool = True
    """Whether the queues are declared, for this spec or an earlier one."""

    is_overdue: bool = False
    """Whether the watch should show the Deployment by now, if it was created."""

    limits: tuple[Limit, ...] = ()
    """What windows and budgets allow now."""

    autoscaler: str | None = None
    """A HorizontalPodAutoscaler that sets the number of these workers."""

    words: Mapping[str, Trouble] = field(default_factory=dict)
    """What Kubernetes and the workers report about pods that are not ready, by uid."""

    remains: tuple[Pod, ...] = ()
    """Pods that have ended for good because their nodes refused or evicted them."""

    @property
    def staying(self) -> tuple[Pod, ...]:
        """Pods that are not being terminated."""
        return tuple(pod for pod in self.pods if not pod.ending)

    @property
    def unseen(self) -> int:
        """Workers that report although the watch shows no pod for them, not yet or no longer."""
        known = {pod.name for pod in self.pods}
        return sum(
            not report.draining for name, report in self.reports.items() if name not in known
        )


def latest(
    deployment: DeploymentObject | None, asked: Asked | None
) -> Asked | DeploymentObject | None:
    """Return the Deployment as the watch shows it, or what was set on it since."""
    if deployment is None or asked is None or asked.uid != deployment.uid:
        return deployment
    return asked if deployment.generation < asked.generation else deployment


def asked_for(deployment: DeploymentObject | None, asked: Asked | None) -> int | None:
    """Return the number of workers last requested from Kubernetes; None is unknown."""
    found = latest(deployment, asked)
    return found.replicas if found else None


def is_behind(sight: Sight, asked: Asked | None) -> bool:
    """Return whether Kubernetes has yet to remove pods."""
    deployment, found = sight.deployment, latest(sight.deployment, asked)
    if deployment is None or found is None:
        return False
    surge = 0
    if deployment.is_rolling and deployment.is_observed:
        if found.rollout is None:
            return False
        surge = found.rollout.surge
    return len(sight.staying) > found.replicas + surge


def is_unfit(sight: Sight, asked: Asked | None, *, ceiling: int) -> bool:
    """Return whether a rollout would exceed `ceiling` workers."""
    found = latest(sight.deployment, asked)
    return found is not None and found.rollout != rollout(found.replicas, ceiling=ceiling)


def hazard(sight: Sight, *, going: Iterable[str]) -> str | None:
    """Return why Kubernetes might remove a pod that is not in `going`; None if it would not."""
    names = set(going)
    for pod in sight.staying:
        is_worker = pod.running or pod.name in sight.reports
        if is_worker and not pod.ready and pod.name not in names:
            return f"worker {pod.name} is not ready, and Kubernetes would remove it first"
    return None
