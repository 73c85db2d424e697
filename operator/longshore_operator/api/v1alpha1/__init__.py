"""TaskQueue and Broker, `longshore.dev/v1alpha1`: the only place that defines fields, defaults and
rules.

`kubectl explain` shows the fields' descriptions.
"""

from longshore.contract.config import QueueType
from longshore_operator.api.v1alpha1.broker import (
    Broker,
    BrokerFeatures,
    BrokerSpec,
    BrokerStatus,
    LabelSelector,
    SecretReference,
)
from longshore_operator.api.v1alpha1.condition import Condition
from longshore_operator.api.v1alpha1.queue import DeadLetter, Overflow, Queue
from longshore_operator.api.v1alpha1.scaling import (
    MOST_WORKERS,
    Budget,
    Scaling,
    ScalingStatus,
    ScalingWindow,
)
from longshore_operator.api.v1alpha1.task_queue import (
    BrokerReference,
    DeletionPolicy,
    DerivedTimeouts,
    Jobs,
    Priorities,
    TaskQueue,
    TaskQueueSpec,
    TaskQueueStatus,
    Workers,
)

GROUP = "longshore.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

__all__ = [
    "API_VERSION",
    "GROUP",
    "MOST_WORKERS",
    "VERSION",
    "Broker",
    "BrokerFeatures",
    "BrokerReference",
    "BrokerSpec",
    "BrokerStatus",
    "Budget",
    "Condition",
    "DeadLetter",
    "DeletionPolicy",
    "DerivedTimeouts",
    "Jobs",
    "LabelSelector",
    "Overflow",
    "Priorities",
    "Queue",
    "QueueType",
    "Scaling",
    "ScalingStatus",
    "ScalingWindow",
    "SecretReference",
    "TaskQueue",
    "TaskQueueSpec",
    "TaskQueueStatus",
    "Workers",
]
