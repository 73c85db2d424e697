"""The cluster as the watches show it. What is not there yet is unknown."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from longshore_operator.app.objects import BrokerObject, DeploymentObject, TaskQueueObject
from longshore_operator.core.pods import Pod
from longshore_operator.core.rosters import Listed
from longshore_operator.core.topology import listed_for

_T = TypeVar("_T")

Key = tuple[str, str]
"""Namespace and name of a TaskQueue."""


@dataclass(slots=True, kw_only=True)
class World:
    """Objects by the TaskQueue they belong to. kopf keeps the mappings up to date."""

    is_complete: bool = False
    """Whether everything was listed once. Before, a pod that is not there may only be unseen."""

    queues: Mapping[Key, Collection[TaskQueueObject]] = field(default_factory=dict)
    registered: Mapping[str, Collection[BrokerObject]] = field(default_factory=dict)
    deployments: Mapping[Key, Collection[DeploymentObject]] = field(default_factory=dict)
    budgets: Mapping[Key, Collection[str]] = field(default_factory=dict)
    """Digests of PodDisruptionBudgets (`core.workload.standing`)."""

    all_pods: Mapping[Key, Collection[Pod]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Uids of pods that the watch has not seen go: after an interruption too long for the API
    server's memory, kopf lists anew and keeps what is no longer there (1.45)."""

    autoscalers: Mapping[Key, str] = field(default_factory=dict)
    """HorizontalPodAutoscalers of others that set the number of a TaskQueue's workers, by name."""

    namespaces: Mapping[str, Collection[Mapping[str, str]]] = field(default_factory=dict)
    """Their labels."""

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Labels of one namespace."""
        return _only(self.namespaces.get(name))

    def task_queues(self) -> Iterator[tuple[Key, TaskQueueObject]]:
        """Every TaskQueue."""
        for key in list(self.queues):
            if (task_queue := self.task_queue(key)) is not None:
                yield key, task_queue

    def task_queue(self, key: Key) -> TaskQueueObject | None:
        """One TaskQueue."""
        return _only(self.queues.get(key))

    def listed(self, *, broker: str) -> set[Listed]:
        """What the TaskQueues on this Broker need in its rosters."""
        return {
            listed
            for _, each in self.task_queues()
            if each.spec is not None and each.spec.broker.name == broker
            for listed in listed_for(each.owner.queue, spec=each.spec)
        }

    def brokers(self) -> Iterator[BrokerObject]:
        """Every Broker."""
        for name in list(self.registered):
            if (broker := self.broker(name)) is not None:
                yield broker

    def broker(self, name: str) -> BrokerObject | None:
        """One Broker."""
        return _only(self.registered.get(name))

    def deployment(self, key: Key) -> DeploymentObject | None:
        """The Deployment of a TaskQueue's workers."""
        return _only(self.deployments.get(key))

    def budget(self, key: Key) -> str | None:
        """What the PodDisruptionBudget of a TaskQueue's workers says, as a digest."""
        return _only(self.budgets.get(key))

    def pods(self, key: Key) -> tuple[Pod, ...]:
        """The pods of a TaskQueue's workers, by name, without those that are over."""
        if not (known := self.all_pods.get(key)):
            return ()
        pods = [pod for pod in known if not pod.over and pod.uid not in self.gone]
        return tuple(sorted(pods, key=lambda pod: pod.name))

    def remains(self, key: Key) -> tuple[Pod, ...]:
        """Pods that are over and whose objects are still there, as nodes leave those that they
        refused or evicted."""
        known = self.all_pods.get(key) or ()
        return tuple(pod for pod in known if pod.over and pod.uid not in self.gone)


def _only(values: Collection[_T] | None) -> _T | None:
    return next(iter(values), None) if values else None
