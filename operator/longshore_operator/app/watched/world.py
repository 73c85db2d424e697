"""The cluster as the watches show it. What they have not shown is unknown."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from longshore_operator.app.watched.objects import (
    BrokerObject,
    BudgetObject,
    NamespaceObject,
    TaskQueueObject,
)
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.rabbitmq.rosters import Listed
from longshore_operator.core.rabbitmq.topology import listed_for


class _Watched(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def created(self) -> str: ...


class _Owned(_Watched, Protocol):
    @property
    def owner(self) -> str: ...


_T = TypeVar("_T", bound=_Watched)
_O = TypeVar("_O", bound=_Owned)

Key = tuple[str, str]
"""Namespace and name of a TaskQueue."""


class Kind(StrEnum):
    """The watched kinds, by their plural."""

    TASK_QUEUES = "taskqueues"
    BROKERS = "brokers"
    DEPLOYMENTS = "deployments"
    BUDGETS = "poddisruptionbudgets"
    PODS = "pods"
    NAMESPACES = "namespaces"


@dataclass(slots=True, kw_only=True)
class World:
    """Objects by the TaskQueue they belong to. kopf keeps the mappings up to date, except that it
    may miss removals: after an interruption that is longer than the API server's memory, kopf lists
    anew and keeps what no longer exists (1.45). So there may be two objects of one name.
    """

    is_complete: bool = False
    """Whether everything was listed once. Before that, a missing pod may only be unseen."""

    queues: Mapping[Key, Collection[TaskQueueObject]] = field(default_factory=dict)
    registered: Mapping[str, Collection[BrokerObject]] = field(default_factory=dict)
    deployments: Mapping[Key, Collection[DeploymentObject]] = field(default_factory=dict)
    budgets: Mapping[Key, Collection[BudgetObject]] = field(default_factory=dict)
    all_pods: Mapping[Key, Collection[Pod]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Uids of objects whose removal no watch has reported."""

    autoscalers: Mapping[Key, str] = field(default_factory=dict)
    """Foreign HorizontalPodAutoscalers that set the number of a TaskQueue's workers, by name."""

    namespaces: Mapping[str, Collection[NamespaceObject]] = field(default_factory=dict)

    @property
    def cluster(self) -> str | None:
        """The uid of kube-system, which identifies this Kubernetes cluster: every cluster has that
        namespace for life."""
        found = self._newest(self.namespaces.get("kube-system"))
        return found.uid if found else None

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """Return the labels of one namespace."""
        found = self._newest(self.namespaces.get(name))
        return found.labels if found else None

    def task_queues(self) -> Iterator[tuple[Key, TaskQueueObject]]:
        """Yield every TaskQueue."""
        for key in list(self.queues):
            if (task_queue := self.task_queue(key)) is not None:
                yield key, task_queue

    def task_queue(self, key: Key) -> TaskQueueObject | None:
        """Return one TaskQueue."""
        return self._newest(self.queues.get(key))

    def listed(self, *, broker: str) -> set[Listed]:
        """Return what the TaskQueues on this Broker need in its rosters."""
        return {
            listed
            for _, each in self.task_queues()
            if each.ending.broker == broker
            for listed in listed_for(each.owner.queue, adopts=each.ending.queue_name is not None)
        }

    def brokers(self) -> Iterator[BrokerObject]:
        """Yield every Broker."""
        for name in list(self.registered):
            if (broker := self.broker(name)) is not None:
                yield broker

    def broker(self, name: str) -> BrokerObject | None:
        """Return one Broker."""
        return self._newest(self.registered.get(name))

    def deployment(self, key: Key) -> DeploymentObject | None:
        """Return the Deployment of a TaskQueue's workers, but not that of an earlier TaskQueue."""
        return self._newest(self._own(key, self.deployments.get(key)))

    def budget(self, key: Key) -> str | None:
        """Return a digest of the PodDisruptionBudget of a TaskQueue's workers."""
        found = self._newest(self._own(key, self.budgets.get(key)))
        return found.standing if found else None

    def pods(self, key: Key) -> tuple[Pod, ...]:
        """Return the pods of a TaskQueue's workers, by name, without those that have ended."""
        if not (known := self.all_pods.get(key)):
            return ()
        pods = [pod for pod in known if not pod.over and pod.uid not in self.gone]
        return tuple(sorted(pods, key=lambda pod: pod.name))

    def remains(self, key: Key) -> tuple[Pod, ...]:
        """Return pods that have ended but whose objects still exist; nodes leave such objects when
        they refuse or evict a pod."""
        known = self.all_pods.get(key) or ()
        return tuple(pod for pod in known if pod.over and pod.uid not in self.gone)

    def shown(self, kind: Kind) -> set[str]:
        """Return the uids of all objects of a kind that the watch shows."""
        indices: Mapping[Kind, Mapping[Any, Collection[Any]]] = {
            Kind.TASK_QUEUES: self.queues,
            Kind.BROKERS: self.registered,
            Kind.DEPLOYMENTS: self.deployments,
            Kind.BUDGETS: self.budgets,
            Kind.PODS: self.all_pods,
            Kind.NAMESPACES: self.namespaces,
        }
        index = indices[kind]
        return {each.uid for key in list(index) for each in index.get(key) or ()}

    def forget_gone(self) -> None:
        """Forget uids that the watches no longer show."""
        if self.gone:
            self.gone &= set().union(*map(self.shown, Kind))

    def _own(self, key: Key, known: Collection[_O] | None) -> Collection[_O] | None:
        task_queue = self.task_queue(key)
        if not known or task_queue is None:
            return known
        return [each for each in known if each.owner in ("", task_queue.owner.uid)]

    def _newest(self, known: Collection[_T] | None) -> _T | None:
        if not known:
            return None
        if len(known) == 1 and not self.gone:  # the usual case, thousands of times a tick
            return next(iter(known))
        there = [each for each in known if each.uid not in self.gone]
        return max(there, key=lambda each: each.created, default=None)
