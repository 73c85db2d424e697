"""TaskQueue specs as a manifest gives them, for tests."""

from typing import Any

from longshore.contract.features import features_of
from longshore_operator.api.v1alpha1 import TaskQueueSpec
from longshore_operator.core.kubernetes.owner import Owner

OWNER = Owner(namespace="media", name="transcode", uid="7e6c")
V4_0 = features_of("4.0.5")
V4_3 = features_of("4.3.6")


def spec(**parts: Any) -> TaskQueueSpec:
    """The smallest spec, changed by `parts` in camelCase."""
    smallest = {
        "timeLimit": {"hard": "2h"},
        "worker": {"image": "registry.example/media:1", "handlers": ["media.jobs"]},
    }
    return TaskQueueSpec.model_validate(smallest | parts)


def worker(**parts: Any) -> dict[str, Any]:
    """The smallest worker, changed by `parts`."""
    return {"image": "registry.example/media:1", "handlers": ["media.jobs"], **parts}
