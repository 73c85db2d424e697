"""Replicas that Kubernetes makes no pods for."""

from dataclasses import replace
from typing import Any

import pytest

from longshore_operator.core.kubernetes.rollout import rollout
from longshore_operator.core.scaling.step import is_due
from longshore_operator.core.workers.missing import APPEAR_WITHIN, MissingPods, missing
from longshore_operator.errors import Transient
from tests.unit.operator.test_workers import MOST, Stage, pod, report

GIVEN_UP = ["rescale media/transcode-worker from 8 to 2"]


@pytest.fixture
def stage() -> Stage:
    """Eight asked for, of which a quota allows two."""
    stage = Stage()
    stage.deployment = replace(stage.deployment, replicas=8, rollout=rollout(8, ceiling=MOST))
    stage.kubernetes.made = 2
    return stage


async def carry_out(stage: Stage, **parts: Any) -> list[str]:
    stage.kubernetes.calls.clear()
    stage.decide(replicas=2, free=6, **parts)
    return await stage.execute()


async def test_they_are_given_up_in_one_call_and_without_marking_a_pod(stage: Stage) -> None:
    assert await carry_out(stage) == GIVEN_UP


async def test_a_worker_that_is_not_ready_does_not_keep_them(stage: Stage) -> None:
    stage.pods = (pod("busy", ready=False), pod("idle"))

    assert await carry_out(stage) == GIVEN_UP


async def test_they_are_not_given_up_when_kubernetes_has_made_their_pods_meanwhile(
    stage: Stage,
) -> None:
    stage.kubernetes.made = 3

    with pytest.raises(Transient, match="3 pods, more than 2"):
        await carry_out(stage)
    assert stage.state.refusals.trouble is None


async def test_during_a_rollout_they_stay(stage: Stage) -> None:
    """Kubernetes takes its share of old and new pods then, whoever is busy."""
    stage.deployment = replace(stage.deployment, is_rolling=True)

    assert await carry_out(stage) == []


async def test_they_are_given_up_where_there_is_no_pod_at_all(stage: Stage) -> None:
    stage.pods, stage.reports, stage.kubernetes.made = (), {}, 0
    stage.decide(replicas=0, free=8)

    assert is_due(stage.state, stage.sight)


def test_a_worker_that_only_its_own_word_shows_has_a_pod(stage: Stage) -> None:
    stage.pods = (pod("busy"),)
    stage.reports["going"] = report("going", draining=True)

    assert stage.sight.unseen == 1, "the idle one"


async def test_in_a_stuck_rollout_all_go_at_once_when_all_are_proved_idle(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.deployment = replace(
        stage.deployment, replicas=2, is_rolling=True, rollout=rollout(2, ceiling=MOST)
    )
    both: dict[str, Any] = {"replicas": 0, "remove": ("busy", "idle")}
    assert await stage.carry_out(**both) == [], "one is busy"

    stage.pods = (pod("idle"), pod("new", running=False, ready=False))
    del stage.reports["busy"]
    assert await stage.carry_out(replicas=0, remove=("idle", "new")) == [
        "rescale media/transcode-worker from 2 to 0"
    ]


def test_what_is_missing_is_missing_since_the_last_pod_came() -> None:
    first = missing(None, replicas=8, pods=1, now=0)
    second = missing(first, replicas=8, pods=2, now=3)
    third = missing(second, replicas=9, pods=2, now=7)

    assert third == MissingPods(count=7, pods=2, since=3)
    assert not third.is_over(now=7)
    assert third.is_over(now=3 + APPEAR_WITHIN)
    assert missing(third, replicas=2, pods=2, now=8) is None
    assert missing(third, replicas=None, pods=2, now=8) is None
