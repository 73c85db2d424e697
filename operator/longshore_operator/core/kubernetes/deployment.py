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
    """There are, or may be, pods of an older template: Kubernetes chooses which pods to remove."""

    is_observed: bool = True
    """Kubernetes has seen its current spec."""

    rollout: Rollout | None = None
    """How it replaces its pods; None if the operator would never set it so."""

    refused: Trouble | None = None
    """Why Kubernetes does not create the pods that it should."""

    stuck: Trouble | None = None
    """Why Kubernetes makes no progress with its current template."""

    standing: str = ""
    """A digest of its spec (`core.kubernetes.workload.standing`)."""
