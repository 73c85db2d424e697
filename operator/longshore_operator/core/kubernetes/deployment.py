"""The Deployment of a TaskQueue's workers, as Kubernetes shows it."""

from dataclasses import dataclass

from longshore_operator.core.kubernetes.rollout import Rollout
from longshore_operator.trouble import Trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentObject:
    """The Deployment of a TaskQueue's workers."""

    replicas: int
    uid: str
    owner: str = ""
    """Uid of its TaskQueue."""

    created: str = ""
    generation: int = 0
    is_rolling: bool = False
    """Pods of an older template are there, or may be: which of them goes is not ours to say."""

    is_observed: bool = True
    """Kubernetes has seen its present spec."""

    rollout: Rollout | None = None
    """How it replaces its pods; None where that is not what we would say."""

    refused: Trouble | None = None
    """Why Kubernetes does not make pods that it should."""

    stuck: Trouble | None = None
    """Why Kubernetes says that it gets no further with its present template."""

    standing: str = ""
    """A digest of what it says (`core.workload.standing`)."""
