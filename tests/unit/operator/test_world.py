"""Objects are a TaskQueue's by name, owner and uid; a label proves nothing."""

from collections.abc import Mapping
from typing import Any

import kopf
import pytest

from longshore_operator import handlers
from longshore_operator.app.audit import Audit
from longshore_operator.app.watched import objects
from longshore_operator.app.watched.world import Kind, World
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.owner import Owner
from tests.unit.operator.kubernetes import Kubernetes

KEY = ("media", "work")
LABELS = {"longshore.dev/task-queue": "work"}


def reference(kind: str, name: str, *, uid: str = "uid-1", **parts: Any) -> dict[str, Any]:
    versions = {"TaskQueue": "longshore.dev/v1alpha1", "ReplicaSet": "apps/v1"}
    values = {"apiVersion": versions.get(kind, "v1"), "kind": kind, "name": name, "uid": uid}
    return {**values, "controller": True, **parts}


def body(name: str, *owners: Mapping[str, Any], uid: str = "a", day: int = 1) -> kopf.Body:
    created = f"2026-01-{day:02}T00:00:00Z"
    metadata: dict[str, Any] = {"namespace": "media", "name": name, "uid": uid, "labels": LABELS}
    raw: Any = {
        "metadata": metadata | {"ownerReferences": owners, "creationTimestamp": created},
        "spec": {"replicas": 1, "selector": {}, "template": {}},
    }
    return kopf.Body(raw)


OURS = reference("TaskQueue", "work")


@pytest.mark.parametrize("handler", [handlers.deployments, handlers.budgets])
@pytest.mark.parametrize(
    ("name", "owners", "is_ours"),
    [
        ("work-worker", [OURS], True),
        ("a-copy", [OURS], False),
        ("work-worker", [], False),
        ("work-worker", [{**OURS, "controller": False}], False),
        ("work-worker", [{**OURS, "apiVersion": "example.org/v1"}], False),
        ("other-worker", [OURS], False),
    ],
)
async def test_only_an_object_of_our_name_that_a_task_queue_owns_is_its_own(
    handler: Any, name: str, owners: list[dict[str, Any]], *, is_ours: bool
) -> None:
    assert list(await handler(body=body(name, *owners))) == ([KEY] if is_ours else [])


@pytest.mark.parametrize(
    ("owners", "is_ours"),
    [
        ([reference("ReplicaSet", "work-worker-6b7f")], True),
        ([], False),
        ([reference("ReplicaSet", "a-copy-6b7f")], False),
        ([reference("ReplicaSet", "work-worker-extra-6b7f")], False),
        ([reference("Job", "work-worker-6b7f")], False),
    ],
)
async def test_a_pod_with_our_label_is_a_worker_only_if_its_replica_set_is_the_workers(
    owners: list[dict[str, Any]], *, is_ours: bool
) -> None:
    assert list(await handlers.pods(body=body("p", *owners))) == ([KEY] if is_ours else [])


def queue(uid: str, *, day: int = 1) -> objects.TaskQueueObject:
    spec = {"timeLimit": {"hard": "1m"}, "worker": {"image": "i", "handlers": ["j"]}}
    return objects.task_queue({**body("work", uid=uid, day=day), "spec": spec})


def deployment(uid: str, *, owner: str, day: int = 1) -> DeploymentObject:
    made_for = reference("TaskQueue", "work", uid=owner)
    return objects.deployment(body("work-worker", made_for, uid=uid, day=day))


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_of_one_name_the_newer_one_counts(order: int) -> None:
    """The watch has not seen the older one go."""
    queues = [queue("old", day=1), queue("new", day=2)][::order]
    old, new = deployment("d1", owner="new", day=1), deployment("d2", owner="new", day=2)
    world = World(queues={KEY: queues}, deployments={KEY: [old, new][::order]})

    assert world.task_queue(KEY) == queue("new", day=2)
    assert world.deployment(KEY) == new


def test_the_deployment_of_a_task_queue_that_is_gone_is_not_its_successors() -> None:
    left = deployment("d1", owner="old", day=2)
    world = World(queues={KEY: [queue("new")]}, deployments={KEY: [left]})

    assert world.deployment(KEY) is None


async def test_what_no_list_shows_is_gone_whatever_its_kind() -> None:
    namespaces = [objects.NamespaceObject(uid="ns-gone"), objects.NamespaceObject(uid="ns")]
    world = World(
        is_complete=True,
        queues={KEY: [queue("tq-gone", day=2), queue("tq")]},
        deployments={KEY: [deployment("d-gone", owner="tq")]},
        namespaces={"media": namespaces},
    )
    kubernetes = Kubernetes(listed={Kind.TASK_QUEUES: {"tq"}, Kind.NAMESPACES: {"ns"}})

    await Audit(world=world, cluster=kubernetes).look()

    assert world.gone == {"tq-gone", "d-gone", "ns-gone"}
    assert world.task_queue(KEY) == queue("tq")
    assert world.deployment(KEY) is None
    world.queues = {KEY: [queue("tq")]}
    world.forget_gone()
    assert world.gone == {"d-gone", "ns-gone"}, "the watch has seen the others go"


async def test_where_nothing_can_be_listed_nothing_is_gone() -> None:
    world = World(is_complete=True, queues={KEY: [queue("tq")]})
    kubernetes = Kubernetes(failing={"list taskqueues"})

    await Audit(world=world, cluster=kubernetes).look()

    assert world.task_queue(KEY) == queue("tq")


OWNER = Owner(namespace="media", name="work", uid="uid-2")
APPLIED = {"manager": "longshore", "operation": "Apply"}


@pytest.mark.parametrize(
    ("metadata", "is_ours"),
    [
        ({"ownerReferences": [reference("TaskQueue", "work", uid="uid-2")]}, True),
        ({"ownerReferences": [reference("TaskQueue", "work", uid="gone")]}, True),
        ({"ownerReferences": [reference("TaskQueue", "other")]}, False),
        ({"ownerReferences": [reference("Deployment", "work")], "managedFields": [APPLIED]}, False),
        ({"labels": LABELS}, False),
        ({"labels": LABELS, "managedFields": [{**APPLIED, "operation": "Update"}]}, False),
        ({"labels": LABELS, "managedFields": [APPLIED]}, True),
    ],
)
def test_an_object_is_ours_by_its_owner_or_else_by_who_applied_it(
    metadata: dict[str, Any], *, is_ours: bool
) -> None:
    assert OWNER.owns(metadata) is is_ours
