"""What becomes of a number of workers that Kubernetes refuses."""

from contextlib import suppress
from dataclasses import replace

import pytest

from longshore_operator.core.kubernetes.refusals import RETRY_AFTER, TOLD_AFTER, Refusals
from longshore_operator.core.kubernetes.rollout import rollout
from longshore_operator.core.scaling.step import is_due
from longshore_operator.errors import UNREACHABLE, Invalid, Transient
from tests.unit.operator.test_workers import MOST, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def asked(stage: Stage, replicas: int) -> None:
    """The watch shows what was asked for."""
    stage.deployment = replace(
        stage.deployment, replicas=replicas, rollout=rollout(replicas, ceiling=MOST)
    )
    stage.state = replace(stage.state, asked=None)


async def settled(stage: Stage, *, replicas: int) -> int:
    """The number that there is once three ticks have asked for `replicas`."""
    for _ in range(3):
        with suppress(Invalid):
            await stage.carry_out(replicas=replicas)
        asked(stage, stage.replicas or 0)
    return stage.deployment.replicas


@pytest.mark.parametrize(("allowed", "wanted"), [(2, 5), (3, 5), (4, 5), (5, 5), (7, 25), (24, 25)])
async def test_a_step_that_is_refused_is_tried_smaller_until_one_is_granted(
    stage: Stage, allowed: int, wanted: int
) -> None:
    stage.kubernetes.most = allowed

    assert await settled(stage, replicas=wanted) == allowed
    if allowed < wanted:
        trouble = stage.state.refusals.trouble
        assert trouble is not None
        assert trouble.reason == "ScaleRefused"
        assert f"more than {allowed} workers" in trouble.message
        assert f"at most {allowed} replicas" in trouble.message, "in Kubernetes' own words"


async def test_what_was_refused_is_not_asked_for_each_second(stage: Stage) -> None:
    stage.kubernetes.most = 3
    await settled(stage, replicas=5)

    assert await stage.carry_out(replicas=5) == []
    assert not is_due(stage.state, stage.sight)
    stage.now += RETRY_AFTER
    assert is_due(stage.state, stage.sight)


async def test_once_the_rule_is_gone_all_are_asked_for(stage: Stage) -> None:
    stage.kubernetes.most = 3
    await settled(stage, replicas=5)
    stage.kubernetes.most = None
    stage.now += RETRY_AFTER

    assert await stage.carry_out(replicas=5) == ["rescale media/transcode-worker from 3 to 5"]
    assert stage.state.refusals.trouble is None


async def test_where_not_even_one_more_is_granted_the_refusal_is_raised(stage: Stage) -> None:
    stage.kubernetes.most = 2

    with pytest.raises(Invalid, match="at most 2"):
        await stage.carry_out(replicas=5)
    assert [call.rpartition(" ")[2] for call in stage.kubernetes.calls] == ["5", "3"]


async def test_a_shrink_that_is_refused_lets_the_cordoned_work_again(stage: Stage) -> None:
    await stage.cordon_idle()
    stage.kubernetes.least = 2
    with pytest.raises(Invalid):
        await stage.carry_out(replicas=1, remove=("idle",))

    refusals = stage.state.refusals
    assert refusals.keeps(before=2, now=stage.now)
    assert not refusals.keeps(before=2, now=stage.now + RETRY_AFTER)
    assert refusals.trouble is not None
    assert "as few as 1 workers" in refusals.trouble.message


def test_what_is_not_wanted_any_more_is_not_refused_any_more() -> None:
    no = Invalid("no", reason="RefusedByKubernetes")
    refusals = Refusals().noted(no, to=5, before=2, now=0)

    assert refusals.judged(wanted=5).trouble is not None
    assert refusals.judged(wanted=None).trouble is not None, "that is not known"
    assert refusals.judged(wanted=4).trouble is None


def test_a_failure_counts_as_a_refusal_when_it_repeats() -> None:
    down = Transient("failed calling webhook", reason="KubernetesFailed")
    refusals = Refusals()
    for _ in range(TOLD_AFTER):
        assert refusals.trouble is None
        refusals = refusals.noted(down, to=5, before=2, now=0)

    assert refusals.trouble is not None
    assert "failed calling webhook" in refusals.trouble.message
    assert not refusals.holds(to=5, before=2, now=0), "asked for again at once"
    assert refusals.granted(to=5, before=2).trouble is None


@pytest.mark.parametrize("reason", [UNREACHABLE, "Conflict", "NotFound"])
def test_no_answer_is_no_refusal(reason: str) -> None:
    refusals = Refusals()
    for _ in range(TOLD_AFTER):
        refusals = refusals.noted(Transient("", reason=reason), to=5, before=2, now=0)

    assert refusals == Refusals()
