"""What keeps workers from running, told from what a real cluster shows.

`obstacles.json` was recorded on Kubernetes 1.36: for each cause the status of a Deployment with one
replica, of its last pods, and the warnings about the last one, some 20 s after it was made.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longshore_operator.app.scaling.warnings import ASK_AFTER, Answer, Warnings
from longshore_operator.app.watched.objects import deployment
from longshore_operator.core.kubernetes.containers import warned
from longshore_operator.core.kubernetes.deployment import DeploymentObject
from longshore_operator.core.kubernetes.obstacles import (
    HALTED_AFTER,
    PATIENCE,
    PROBES_AFTER,
    PULLS,
    REFUSED_AFTER,
    WORDS_AFTER,
    Scene,
    Since,
    obstacle,
    overdue_after,
)
from longshore_operator.core.kubernetes.pods import Pod, pod
from longshore_operator.core.scaling.sight import Sight
from longshore_operator.trouble import Trouble
from tests.unit.operator.kubernetes import Kubernetes
from tests.unit.operator.test_workers import pod as made

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "obstacles.json").read_text())
NOW = 1_000.0


async def nobody(address: str) -> Answer | None:
    return None


def pods_of(name: str) -> tuple[Pod, ...]:
    return tuple(pod(body) for body in RECORDED[name]["pods"])


def deployment_of(name: str) -> DeploymentObject:
    status = RECORDED[name]["deployment"]
    return deployment({"metadata": {"uid": "d"}, "spec": {"replicas": 1}, "status": status})


async def words_of(name: str, *, epoch: float, ask: Any = nobody) -> Any:
    """What Kubernetes and the workers say when they are asked."""
    events = [warned(event) for event in RECORDED[name]["warnings"]]
    kubernetes = Kubernetes(warned=[event for event in events if event])
    staying = tuple(each for each in pods_of(name) if not each.over)
    sight = Sight(
        key=("media", "work"), deployment=None, pods=staying, reports={}, now=NOW, epoch=epoch
    )
    return await Warnings(workloads=kubernetes.workloads(), ask=ask).look(sight, {})


async def verdict(name: str, *, age: float, ask: Any = nobody) -> Trouble | None:
    """What the TaskQueue says `age` seconds after its pod came no further."""
    pods, found = pods_of(name), deployment_of(name)
    staying = tuple(each for each in pods if not each.over)
    began = [max(each.unready_since or 0.0, each.stage_since or 0.0) for each in pods]
    epoch = max(began, default=0.0) + age
    scene = Scene(
        pods=staying,
        remains=tuple(each for each in pods if each.over),
        missing=1 - len(staying),
        refused=found.refused,
        stuck=found.stuck,
        words=await words_of(name, epoch=epoch, ask=ask),
        now=NOW,
        epoch=epoch,
    )
    since = Since(refused=NOW - age if found.refused else None, unready=NOW - age)
    told = next((each.trouble for each in staying if each.trouble), None)
    return told or obstacle(scene, since)


SILENT = "StartOverdue"

CAUSES = {
    "account": ("FailedCreate", 'serviceaccount "absent" not found'),
    "configmap-volume": ("FailedMount", 'configmap "absent" not found'),
    "env-configmap": ("CreateContainerConfigError", 'configmap "absent" not found'),
    "env-secret": ("CreateContainerConfigError", 'secret "absent" not found'),
    "exit0": ("WorkerExited", "ended with exit code 0: Completed"),
    "gate": ("SchedulingGated", "non-empty scheduling gates"),
    "hook": ("FailedCreate", 'failed calling webhook "pods.rec.example"'),
    "hook-poststart": ("WorkerCrashed", "exit code 137"),
    "hostpath-type": ("FailedMount", "hostPath type check failed"),
    "image-name": ("InvalidImageName", "must be lowercase"),
    "image-never": ("ErrImageNeverPull", "not present with pull policy of Never"),
    "image-pull": ("ImagePullBackOff", "failed to resolve reference"),
    "init-fails": ("InitContainerFailed", "init container 'migrate' ended with exit code 1: no"),
    "init-hangs": ("StartOverdue", "waits for init container 'wait-for-db'"),
    "init-image": ("ErrImageNeverPull", "init container 'migrate': image 'localhost/nowhere:1'"),
    "kubelet-rejects": ("OutOfcpu", "Node didn't have enough resource: cpu"),
    "limit-range": ("FailedCreate", "maximum memory usage per Container is 16Mi"),
    "liveness": ("WorkerCrashed", "exit code 137"),
    "no-command": ("RunContainerError", 'exec: "/no/such/program"'),
    "no-replicaset": ("ReplicaSetCreateError", "exceeded quota: q"),
    "node-name": ("StartOverdue", "has no containers yet"),
    "node-selector": ("Unschedulable", "didn't match Pod's node affinity/selector"),
    "oom": ("WorkerCrashed", "OOMKilled"),
    "paused": ("DeploymentPaused", "Deployment is paused"),
    "pod-security": ("FailedCreate", 'violates PodSecurity "restricted:latest"'),
    "priority": ("FailedCreate", "no PriorityClass with name absent was found"),
    "pvc": ("Unschedulable", 'persistentvolumeclaim "absent" not found'),
    "quota-memory": ("FailedCreate", "must specify limits.memory for: worker"),
    "quota-pods": ("FailedCreate", "exceeded quota: q, requested: pods=1, used: pods=0"),
    "readiness": ("Unhealthy", "Readiness probe failed"),
    "run-as-root": ("CreateContainerConfigError", "runAsUser breaks non-root policy"),
    "runtime-absent": ("FailedCreate", 'RuntimeClass "absent" not found'),
    "runtime-handler": ("FailedCreatePodSandBox", 'no runtime for "no-such-handler"'),
    "secret-volume": ("FailedMount", 'secret "absent" not found'),
    "sidecar": ("ContainerCrashed", "container 'proxy' ended with exit code 1"),
    "startup": ("Unhealthy", "Startup probe failed"),
    "too-big": ("Unschedulable", "Insufficient cpu"),
    "vap": ("FailedCreate", "denied request: images must be signed"),
}


def test_every_recorded_cause_is_in_the_table() -> None:
    assert set(CAUSES) == set(RECORDED)


@pytest.mark.parametrize("name", CAUSES)
async def test_a_cause_is_told_by_reason_and_in_kubernetes_own_words(name: str) -> None:
    reason, words = CAUSES[name]

    trouble = await verdict(name, age=overdue_after(None) if reason == SILENT else PROBES_AFTER)

    assert trouble is not None
    assert trouble.reason == reason
    assert words in trouble.message


SILENT_AT_FIRST = {
    "configmap-volume": WORDS_AFTER,
    "hostpath-type": WORDS_AFTER,
    "init-hangs": overdue_after(None),
    "readiness": PROBES_AFTER,
    "runtime-handler": WORDS_AFTER,
    "secret-volume": WORDS_AFTER,
    "startup": PROBES_AFTER,
    "quota-pods": REFUSED_AFTER,
    "vap": REFUSED_AFTER,
}


@pytest.mark.parametrize("name", SILENT_AT_FIRST)
async def test_what_may_pass_is_told_when_it_does_not(name: str) -> None:
    assert await verdict(name, age=SILENT_AT_FIRST[name] - 0.5) is None
    assert await verdict(name, age=SILENT_AT_FIRST[name]) is not None


def test_the_name_of_a_pod_that_was_never_made_is_not_told() -> None:
    """Each attempt has another one: the message would change with it, and nothing else."""
    refused = deployment_of("quota-pods").refused

    assert refused is not None
    assert refused.message.startswith("Kubernetes refuses pods: exceeded quota")


async def test_a_workers_own_words_count_before_its_probes() -> None:
    async def refused(address: str) -> Answer | None:
        assert address
        return Answer(False, "RabbitMQ at rabbit:5672: connection limit in vhost (4) is reached")

    trouble = await verdict("readiness", age=PROBES_AFTER, ask=refused)

    assert trouble is not None
    assert trouble.reason == "WorkerNotConsuming"
    assert "connection limit in vhost (4) is reached" in trouble.message


async def test_a_worker_that_says_that_it_starts_is_overdue_only_when_it_takes_too_long() -> None:
    async def importing(address: str) -> Answer | None:
        return Answer(False, "")

    assert await verdict("readiness", age=PROBES_AFTER, ask=importing) is None
    trouble = await verdict("readiness", age=overdue_after(None), ask=importing)
    assert trouble is not None
    assert trouble.reason == "StartOverdue"


async def test_nobody_is_asked_about_a_start_that_has_just_begun() -> None:
    kubernetes = Kubernetes()
    (pod_,) = pods_of("secret-volume")
    assert pod_.unready_since is not None
    began = max(pod_.unready_since, pod_.stage_since or 0.0)
    early = Sight(
        key=("media", "work"),
        deployment=None,
        pods=(pod_,),
        reports={},
        now=NOW,
        epoch=began + ASK_AFTER - 1,
    )
    late = replace(early, epoch=began + ASK_AFTER)
    warnings = Warnings(workloads=kubernetes.workloads(), ask=nobody)

    assert await warnings.look(early, {}) == {}
    assert kubernetes.calls == []
    await warnings.look(late, {})
    await warnings.look(late, {})
    assert len(kubernetes.calls) == 1, "not each second"


def scene(*pods: Pod, **parts: Any) -> Scene:
    return Scene(**{"pods": pods, "words": {}, "now": NOW, "epoch": NOW, **parts})


STARTING = made("new", running=False, ready=False, unready_since=NOW - 60)


def test_a_start_beside_ready_workers_may_take_its_time() -> None:
    """An image is pulled to a new node, while those on the others work."""
    slow = replace(STARTING, unready_since=NOW - PATIENCE + 1)

    assert obstacle(scene(made("old"), slow), Since()) is None
    late = obstacle(scene(made("old"), replace(slow, unready_since=NOW - PATIENCE)), Since())
    assert late is not None
    assert "some workers are not ready" in late.message


def test_a_warning_about_one_of_many_is_told() -> None:
    words = {STARTING.uid: Trouble(reason="FailedMount", message="no such volume")}

    assert obstacle(scene(made("old"), STARTING, words=words), Since()) == words[STARTING.uid]


def test_the_usual_start_is_the_measure() -> None:
    assert overdue_after(None) == 30.0, "until one was seen, it is taken to be 10 s"
    assert overdue_after(40.0) == 120.0
    assert overdue_after(0.5) == PROBES_AFTER
    assert obstacle(scene(STARTING, startup=40.0), Since()) is None
    assert obstacle(scene(STARTING, startup=2.0), Since()) is not None


def test_a_start_that_comes_further_is_not_overdue() -> None:
    """On a busy machine each step takes longer."""
    begun = replace(STARTING, stage_since=NOW - 5)

    assert obstacle(scene(begun), Since(unready=NOW - 60)) is None
    assert obstacle(scene(begun, replace(STARTING, name="other")), Since()) is None


def test_a_pull_of_an_image_may_take_longer_than_another_step() -> None:
    pulling = replace(STARTING, is_pulling=True, unready_since=NOW - PULLS * overdue_after(None))

    assert obstacle(scene(pulling), Since()) is not None
    slower = replace(pulling, unready_since=(pulling.unready_since or 0.0) + 1)
    assert obstacle(scene(slower), Since()) is None
    assert obstacle(scene(replace(slower, is_pulling=False)), Since()) is not None


def test_what_a_pull_is_told_by() -> None:
    body = RECORDED["secret-volume"]["pods"][0]
    conditions = [
        {**each, "status": "True"} if each["type"] == "PodReadyToStartContainers" else each
        for each in body["status"]["conditions"]
    ]
    pulling = {**body, "status": {**body["status"], "conditions": conditions}}

    assert pod(pulling).is_pulling
    assert not pod(body).is_pulling
    assert not any(each.is_pulling for name in CAUSES for each in pods_of(name))


def test_no_pod_at_all_is_overdue_too() -> None:
    found = obstacle(scene(missing=1), Since(unready=NOW - PROBES_AFTER))

    assert found is not None
    assert "has created no pod" in found.message


def test_a_node_that_refuses_pod_after_pod_is_told_whatever_the_next_one_is_at() -> None:
    words = Trouble(reason="OutOfcpu", message="no room")
    over = made("over", over=True, created=NOW - 2, trouble=words)
    newborn = replace(STARTING, unready_since=NOW)

    assert obstacle(scene(newborn, remains=(over,)), Since(unready=NOW - 5)) == words
    assert obstacle(scene(newborn, remains=(over,)), Since(unready=NOW - 4)) is None
    old = replace(over, created=NOW - 100)
    assert obstacle(scene(newborn, remains=(old,)), Since(unready=NOW - 60)) is None


def test_pods_that_are_refused_while_none_is_missing_are_not_told() -> None:
    """The condition stays until Kubernetes has looked again."""
    refused = Trouble(reason="FailedCreate", message="exceeded quota")
    since = Since(refused=NOW - 60)

    assert obstacle(scene(made("a"), refused=refused), since) is None
    assert obstacle(scene(made("a"), refused=refused, missing=1), since) == refused
    assert obstacle(scene(made("a"), refused=refused, is_rolling=True), since) == refused


def test_what_begins_anew_is_counted_anew() -> None:
    first = Since().seen(refused=True, unready=True, halted=True, now=1)
    second = first.seen(refused=True, unready=False, halted=True, now=2)
    third = second.seen(refused=True, unready=True, halted=True, now=1 + HALTED_AFTER)

    assert (third.refused, third.unready) == (1, 1 + HALTED_AFTER)
    assert not second.is_halted(now=2)
    assert third.is_halted(now=1 + HALTED_AFTER)
