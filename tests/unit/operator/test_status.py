from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.contract.features import features_of
from longshore_operator.api.v1alpha1 import Condition
from longshore_operator.core.kubernetes.pods import Pod
from longshore_operator.core.scaling import Decision
from longshore_operator.core.status import (
    Facts,
    conditions,
    foreign_policy,
    merge_patch,
    priorities,
)
from longshore_operator.trouble import Trouble
from tests.unit.operator.specs import V4_0, V4_3

WELL = Facts(
    broker_trouble=None,
    broker_version="4.3.6",
    queue_trouble=None,
    worker_trouble=None,
    is_declared=True,
    pods=(),
    replicas=0,
    decision=Decision(replicas=0, why=("0 wanted",)),
)
SILENT = replace(WELL, silent=("p",))
CRASH = Trouble(reason="WorkerCrashed", message="pod p: No module named 'media'")


def made(
    facts: Facts, *, before: tuple[Condition, ...] = (), now: str = "T1"
) -> dict[str, Condition]:
    return {c.type: c for c in conditions(facts, generation=3, before=before, now=now)}


def pod(**parts: Any) -> Pod:
    usual: dict[str, Any] = {"name": "p", "running": True, "ready": True, "ending": False}
    return Pod(**usual | parts)


@pytest.mark.parametrize(
    ("facts", "failing", "reason", "ready"),
    [
        (WELL, None, "Ready", "True"),
        (
            replace(WELL, broker_trouble=Trouble(reason="BrokerNotFound", message="none")),
            "BrokerReachable",
            "BrokerNotFound",
            "False",
        ),
        (
            replace(WELL, queue_trouble=Trouble(reason="Refused", message="406")),
            "QueueDeclared",
            "Refused",
            "False",
        ),
        (
            replace(WELL, alarm=Trouble(reason="MemoryAlarm", message="on rabbit@a")),
            "BrokerReachable",
            "MemoryAlarm",
            "False",
        ),
        (
            replace(WELL, blockage=Trouble(reason="QuorumLost", message="most are down")),
            "QueueDeclared",
            "QuorumLost",
            "False",
        ),
        (
            replace(WELL, worker_trouble=Trouble(reason="RefusedByKubernetes", message="422")),
            "WorkersReady",
            "RefusedByKubernetes",
            "False",
        ),
        (
            replace(WELL, replicas=1, pods=(pod(ready=False, trouble=CRASH),)),
            "WorkersReady",
            "WorkerCrashed",
            "False",
        ),
        (
            replace(WELL, replicas=1, pods=(pod(ready=False),)),
            "WorkersReady",
            "Starting",
            "True",
        ),
        (
            replace(WELL, decision=Decision(replicas=None, why=("paused",), holds="Paused")),
            "ScalingActive",
            "Paused",
            "True",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_fails_is_named_and_spoils_readiness_only_where_jobs_are_not_done(
    facts: Facts, failing: str | None, reason: str, ready: str
) -> None:
    found = made(facts)

    assert found["Ready"].status == ready
    assert found[failing or "Ready"].reason == reason
    assert failing is None or found[failing].status == "False"


def test_a_crash_is_told_with_the_workers_own_words() -> None:
    found = made(replace(WELL, replicas=1, pods=(pod(ready=False, trouble=CRASH),)))

    assert "No module named 'media'" in found["Ready"].message


def test_a_container_that_runs_again_for_a_moment_only_spoils_readiness() -> None:
    crash = Trouble(reason="ContainerCrashed", message="container 'proxy' ended")

    found = made(replace(WELL, crash=crash))

    assert (found["Ready"].status, found["Ready"].reason) == ("False", "ContainerCrashed")


def test_trouble_of_a_pod_that_is_ending_is_over() -> None:
    found = made(replace(WELL, pods=(pod(ready=False, ending=True, trouble=CRASH),)))

    assert found["WorkersReady"].reason == "ScaledToZero"


def test_the_time_of_transition_moves_with_the_status_alone() -> None:
    first = made(WELL, now="T1")
    more = made(replace(WELL, replicas=1, pods=(pod(),)), before=tuple(first.values()), now="T2")
    worse = made(replace(WELL, broker_trouble=CRASH), before=tuple(more.values()), now="T3")

    assert more["WorkersReady"].reason == "Ready"
    assert more["WorkersReady"].last_transition_time == "T1"
    assert worse["BrokerReachable"].last_transition_time == "T3"
    assert worse["WorkersReady"].last_transition_time == "T1"


def test_every_condition_tells_its_generation() -> None:
    assert {condition.observed_generation for condition in made(WELL).values()} == {3}


@pytest.mark.parametrize(
    ("version", "expected"), [("4.0.5", "TwoClasses"), ("4.2.1", "TwoClasses"), ("4.3.6", "Strict")]
)
def test_the_status_says_how_priorities_are_kept(version: str, expected: str) -> None:
    assert priorities(features_of(version)) == expected


JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda part: st.dictionaries(st.sampled_from("abc"), part, max_size=3),
    max_leaves=8,
)
STATUS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def patched(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


@given(before=STATUS, after=STATUS)
def test_a_merge_patch_makes_one_from_the_other_and_is_empty_when_they_are_equal(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert patched(before, merge_patch(before, after)) == after
    assert merge_patch(after, after) == {}


def test_a_foreign_policy_is_a_condition_of_its_own() -> None:
    foreign = foreign_policy({"media.transcode": "theirs"}, features=V4_0)
    found = made(replace(WELL, policy_trouble=foreign))

    assert found["PolicyInForce"].status == "False"
    assert "'theirs'" in found["PolicyInForce"].message
    assert "ack timeout" in found["PolicyInForce"].message
    assert found["Ready"].status == "True", "jobs are still accepted and done"
    assert made(WELL)["PolicyInForce"].status == "True"


def test_from_4_3_on_a_foreign_policy_leaves_the_ack_timeout_alone() -> None:
    foreign = foreign_policy({"media.transcode": "theirs"}, features=V4_3)

    assert foreign
    assert "ack timeout" not in foreign.message
    assert foreign_policy({}, features=V4_3) is None


def test_what_a_queue_that_was_taken_over_lacks_is_a_condition() -> None:
    found = made(replace(WELL, shortcomings=("it has no priorities",)))

    assert found["Guaranteed"].status == "False"
    assert "no priorities" in found["Guaranteed"].message
    assert made(replace(WELL, shortcomings=()))["Guaranteed"].status == "True"
    assert "Guaranteed" not in made(WELL), "a queue of its own needs no word"


def test_a_budget_that_there_is_none_of_is_a_condition_of_scaling_alone() -> None:
    trouble = Trouble(reason="BudgetUnknown", message="scaling.budget.group 'gpu' is unknown")
    decision = Decision(replicas=3, why=("3 wanted",), trouble=trouble)

    found = made(replace(WELL, decision=decision))

    assert (found["ScalingActive"].status, found["ScalingActive"].reason) == (
        "False",
        "BudgetUnknown",
    )
    assert "'gpu'" in found["ScalingActive"].message
    assert found["Ready"].status == "True"


def test_workers_that_are_silent_are_a_condition_of_scaling_alone() -> None:
    found = made(SILENT)

    assert (found["ScalingActive"].status, found["ScalingActive"].reason) == (
        "False",
        "WorkersSilent",
    )
    assert "p" in found["ScalingActive"].message
    assert found["Ready"].status == "True"


def test_a_spec_that_cannot_be_read_is_no_fault_of_its_broker() -> None:
    trouble = Trouble(reason="InvalidSpec", message="spec.scaling.windows: no such hour")
    found = made(replace(WELL, queue_trouble=trouble, is_declared=False, decision=None))

    assert found["BrokerReachable"].status == "True"
    assert {found[kind].reason for kind in ("Ready", "QueueDeclared", "ScalingActive")} == {
        "InvalidSpec"
    }


def test_an_alarm_leaves_the_number_of_workers_to_the_scaler() -> None:
    found = made(replace(WELL, alarm=Trouble(reason="DiskAlarm", message="on rabbit@a")))

    assert found["ScalingActive"].status == "True"
