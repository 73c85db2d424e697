"""What the port's verbs become in Kubernetes."""

from typing import Any

import pytest

from longshore_operator.app.ports.workloads import WantedWorkers
from longshore_operator.app.watched import objects
from longshore_operator.app.watched.world import World
from longshore_operator.core.access.passwords import Credentials
from longshore_operator.core.kubernetes.pods import CHEAPEST
from longshore_operator.core.kubernetes.rollout import Rollout, rollout
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.scaling.sight import Asked
from longshore_operator.errors import Invalid
from tests.integration.operator.fakes import Kubernetes, Watched
from tests.unit.operator.kubernetes import Kubernetes as Noting
from tests.unit.operator.specs import OWNER, V4_3, spec, worker
from tests.unit.operator.test_queues import ADDRESS
from tests.unit.operator.test_workers import pod

KEY = ("media", "transcode")
NAME = ("media", "transcode-worker")


def wanted(**parts: Any) -> WantedWorkers:
    task_queue = spec(**parts)
    return WantedWorkers(
        spec=task_queue,
        timeouts=timeouts(task_queue, features=V4_3),
        heartbeat=30.0,
        address=ADDRESS,
        credentials=Credentials(password="p", rotation="second"),
    )


def watched(kubernetes: Kubernetes) -> World:
    return World(
        deployments=Watched(kubernetes.deployments, objects.deployment),
        budgets=Watched(kubernetes.budgets, objects.disruption_budget),
    )


async def test_a_deployment_begins_without_a_pod_and_knows_the_broker_but_no_password() -> None:
    kubernetes = Kubernetes()

    placed = await kubernetes.workloads().ensure(OWNER, wanted())

    assert (placed.name, placed.before) == ("Deployment transcode-worker", None)
    made = kubernetes.deployments[NAME]["spec"]
    assert made["replicas"] == 0
    annotations = made["template"]["metadata"]["annotations"]
    assert annotations["longshore.dev/broker"] == "rabbit:5672/v"
    assert annotations["longshore.dev/credentials-rotated"] == "second"
    assert "password" not in str(made)


async def test_what_is_as_wanted_is_not_applied_again() -> None:
    kubernetes = Kubernetes()
    workloads = kubernetes.workloads()
    first = await workloads.ensure(OWNER, wanted())
    kubernetes.writes.clear()

    second = await workloads.ensure(OWNER, wanted())

    assert kubernetes.writes == []
    assert (second.before, second.after) == (first.after, first.after)
    assert not second.is_repaired(first.after)


async def test_the_number_becomes_the_scalers_before_anything_else_is_applied() -> None:
    kubernetes = Kubernetes()
    workloads = kubernetes.workloads()
    await workloads.ensure(OWNER, wanted())
    kubernetes.deployments[NAME]["spec"]["replicas"] = 3
    kubernetes.writes.clear()

    await workloads.ensure(OWNER, wanted(worker=worker(image="media:2")))

    assert kubernetes.writes == ["scale transcode-worker to 3", "deployment transcode-worker"]
    assert kubernetes.deployments[NAME]["spec"]["replicas"] == 3


@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
async def test_what_somebody_else_has_made_is_left_alone(kind: str) -> None:
    kubernetes = Kubernetes()
    theirs: dict[str, Any] = {"metadata": {"name": NAME[1], "namespace": "media"}, "spec": {}}
    kubernetes.deployments[NAME] = kubernetes.budgets[NAME] = theirs

    workloads = kubernetes.workloads()
    is_deployment = kind == "Deployment"
    write = workloads.ensure(OWNER, wanted()) if is_deployment else workloads.bound_evictions(OWNER)

    with pytest.raises(Invalid, match=f"a {kind} media/transcode-worker already") as refused:
        await write

    assert refused.value.reason == f"{kind}NotOurs"
    assert kubernetes.writes == []


async def test_what_stands_is_what_was_placed_until_somebody_changes_it() -> None:
    kubernetes = Kubernetes()
    workloads = kubernetes.workloads(watched(kubernetes))
    placed = [await workloads.ensure(OWNER, wanted()), await workloads.bound_evictions(OWNER)]
    said = {each.name: each.after for each in placed}

    assert workloads.standing(KEY) == said
    kubernetes.deployments[NAME]["spec"]["replicas"] = 7
    assert workloads.standing(KEY) == said, "the number is the scaler's"
    kubernetes.deployments[NAME]["spec"]["paused"] = True
    kubernetes.budgets[NAME]["spec"] = {"maxUnavailable": 1}
    assert not set(workloads.standing(KEY).items()) & set(said.items())


async def test_scaling_says_what_a_rollout_may_do_and_knows_it_again() -> None:
    kubernetes = Noting()
    seen = objects.deployment({"metadata": {"uid": "d"}, "spec": {"replicas": 1}})

    asked = await kubernetes.workloads().scale(KEY, seen, to=3, ceiling=3, before=1)

    assert asked == Asked(replicas=3, rollout=rollout(3, ceiling=3), generation=2, uid="d")
    assert kubernetes.rollout == Rollout(surge=0, unavailable=1)
    assert kubernetes.calls == ["rescale media/transcode-worker from 1 to 3"]


async def test_scaling_from_whatever_the_number_is() -> None:
    kubernetes = Noting()
    seen = objects.deployment({"metadata": {"uid": "d"}, "spec": {"replicas": 1}})

    await kubernetes.workloads().scale(KEY, seen, to=0, ceiling=3)

    assert kubernetes.calls == ["scale media/transcode-worker to 0"]


async def test_a_pod_is_retired_by_its_deletion_cost_and_protected_by_annotations() -> None:
    kubernetes, one = Noting(), pod("one")
    workloads = kubernetes.workloads()

    await workloads.retire(KEY, one)
    await workloads.spare(KEY, one)
    await workloads.protect(KEY, one)
    await workloads.unprotect(KEY, one)

    assert kubernetes.calls == [
        f"annotate one {CHEAPEST}",
        "annotate one None",
        "annotate one false true",
        "annotate one None",
    ]
