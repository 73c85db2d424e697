"""The handlers that kopf calls: watches fill the indices, and a deletion waits for the operator's
cleanup. Nothing is decided here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import kopf

from longshore.contract.names import worker_name
from longshore_operator.api.v1alpha1 import GROUP, VERSION
from longshore_operator.app.watched import objects
from longshore_operator.app.watched.objects import TaskQueueObject
from longshore_operator.app.watched.world import Key, World
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.owner import TASK_QUEUE_LABEL, owner_in, worker_of
from longshore_operator.core.kubernetes.pods import Pod, pod
from longshore_operator.errors import OperatorError

OURS = {TASK_QUEUE_LABEL: kopf.PRESENT}
RETRY = 5.0
"""Seconds until a deletion that failed is tried again."""


@dataclass(slots=True, kw_only=True)
class Wiring:
    """What the handlers call; kopf passes it to them as `memo`."""

    world: World
    delete: Callable[[TaskQueueObject], Awaitable[None]]
    """Does everything that must precede the removal of a TaskQueue. Raises Transient to be called
    again."""

    wake: Callable[[], None]
    audit: Callable[[], None]
    is_alive: Callable[[], bool]


def register(registry: kopf.OperatorRegistry) -> None:
    """Put the handlers below into `registry`."""
    kopf.on.login(registry=registry)(login)
    kopf.on.startup(registry=registry)(share_indices)
    kopf.on.probe(id="tick", registry=registry)(probe)
    kopf.index(GROUP, VERSION, "taskqueues", registry=registry)(task_queues)
    kopf.index(GROUP, VERSION, "brokers", registry=registry)(brokers)
    kopf.index("apps", "v1", "deployments", labels=OURS, registry=registry)(deployments)
    kopf.index("policy", "v1", "poddisruptionbudgets", labels=OURS, registry=registry)(budgets)
    kopf.index("", "v1", "pods", labels=OURS, registry=registry)(pods)
    kopf.index("", "v1", "namespaces", registry=registry)(namespaces)
    kopf.on.event(GROUP, VERSION, "taskqueues", registry=registry)(wake)
    kopf.on.event(GROUP, VERSION, "brokers", registry=registry)(wake)
    for group, version, plural in (
        (GROUP, VERSION, "taskqueues"),
        (GROUP, VERSION, "brokers"),
        ("apps", "v1", "deployments"),
        ("policy", "v1", "poddisruptionbudgets"),
        ("", "v1", "pods"),
        ("", "v1", "namespaces"),
    ):
        kopf.on.event(group, version, plural, registry=registry, when=is_listed)(relisted)
    kopf.on.delete(GROUP, VERSION, "taskqueues", registry=registry)(delete)


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Return the pod's credentials, or the kubeconfig's; kopf's default would import a whole
    client."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


async def share_indices(memo: Wiring, **kwargs: Any) -> None:
    """Give the loops access to the indices, which kopf passes by the names of their functions."""
    world = memo.world
    world.queues, world.registered = kwargs["task_queues"], kwargs["brokers"]
    world.deployments, world.all_pods = kwargs["deployments"], kwargs["pods"]
    world.budgets = kwargs["budgets"]
    world.namespaces = kwargs["namespaces"]


async def probe(memo: Wiring, **_: Any) -> str:
    """Answer the liveness probe. Only PermanentError fails it; any other exception hangs the
    probe."""
    if not memo.is_alive():
        raise kopf.PermanentError("no tick has ended for too long")
    return "ok"


async def task_queues(body: kopf.Body, **_: Any) -> dict[Key, objects.TaskQueueObject]:
    """Index TaskQueues by namespace and name."""
    task_queue = objects.task_queue(body)
    return {(task_queue.owner.namespace, task_queue.owner.name): task_queue}


async def brokers(body: kopf.Body, **_: Any) -> dict[str, objects.BrokerObject]:
    """Index Brokers by name."""
    broker = objects.broker(body)
    return {broker.name: broker} if broker else {}


async def deployments(body: kopf.Body, **_: Any) -> dict[Key, DeploymentObject]:
    """Index workers' Deployments by their TaskQueue."""
    return {key: objects.deployment(body)} if (key := _owned(body)) else {}


async def budgets(body: kopf.Body, **_: Any) -> dict[Key, objects.BudgetObject]:
    """Index workers' PodDisruptionBudgets by their TaskQueue."""
    return {key: objects.disruption_budget(body)} if (key := _owned(body)) else {}


async def pods(body: kopf.Body, **_: Any) -> dict[Key, Pod]:
    """Index workers' pods by their TaskQueue."""
    metadata = body["metadata"]
    name = worker_of(metadata)
    return {(metadata["namespace"], name): pod(body)} if name else {}


async def namespaces(body: kopf.Body, **_: Any) -> dict[str, objects.NamespaceObject]:
    """Index namespaces by name."""
    return {body["metadata"]["name"]: objects.namespace(body)}


async def wake(memo: Wiring, **_: Any) -> None:
    """Wake the loops because an object has changed. kopf delays events until all indices are
    filled."""
    memo.world.is_complete = True
    memo.wake()


async def relisted(memo: Wiring, **_: Any) -> None:
    """Audit the watches, because one was restarted and may have missed removed objects."""
    if memo.world.is_complete:
        memo.audit()


def is_listed(type: str | None, **_: Any) -> bool:
    """Return whether kopf has found an object in a list, and not in the watch that follows it."""
    return type is None


async def delete(body: kopf.Body, memo: Wiring, **_: Any) -> None:
    """Clean up before a TaskQueue is removed."""
    try:
        await memo.delete(objects.task_queue(body))
    except OperatorError as error:
        raise kopf.TemporaryError(str(error), delay=RETRY) from error


def _owned(body: kopf.Body) -> Key | None:
    """Return the TaskQueue that owns an object named like its workers; None if there is none."""
    metadata = body["metadata"]
    owner = owner_in(metadata)
    is_ours = owner is not None and metadata["name"] == worker_name(owner[0])
    return (metadata["namespace"], owner[0]) if owner and is_ours else None
