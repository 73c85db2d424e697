"""`WorkersReady`, and `Ready` with it: false whenever jobs wait and nobody will come."""

from dataclasses import replace
from typing import Any

import pytest

from longshore_operator.core.scaling import Decision
from longshore_operator.core.status import TOLD, Facts
from longshore_operator.trouble import Trouble
from tests.unit.operator.test_status import CRASH, WELL, made, pod

QUOTA = Trouble(reason="FailedCreate", message="Kubernetes refuses pods: exceeded quota")
REFUSED = Trouble(reason="ScaleRefused", message="Kubernetes refuses more than 0 workers")
LOST = Trouble(reason="BudgetUnknown", message="scaling.budget.group 'gpu' is unknown")


def decided(**parts: Any) -> Decision:
    return Decision(**{"replicas": 0, "wanted": 0, "why": ("0 wanted",), **parts})


def held(reason: str, why: str) -> Decision:
    return decided(replicas=None, wanted=None, holds=reason, why=(why,))


LOWERED = decided(why=("3 wanted", "window 'night' lowers it to 0", "nothing else"))

CASES: dict[str, tuple[Facts, str, str]] = {
    "nobody is needed": (replace(WELL, decision=decided()), "True", "ScaledToZero"),
    "one is wanted": (replace(WELL, decision=decided(wanted=1, replicas=1)), "False", "Starting"),
    "one is asked for": (replace(WELL, asked=1, decision=decided(wanted=1)), "False", "Starting"),
    "pods are refused": (replace(WELL, asked=1, obstacle=QUOTA), "False", "FailedCreate"),
    "some pods are refused": (
        replace(WELL, asked=4, pods=(pod(),), obstacle=QUOTA),
        "False",
        "FailedCreate",
    ),
    "a pod's own words first": (
        replace(WELL, asked=1, pods=(pod(ready=False, trouble=CRASH),), obstacle=QUOTA),
        "False",
        "WorkerCrashed",
    ),
    "the call is refused": (
        replace(WELL, decision=decided(wanted=1, replicas=1), refused=REFUSED),
        "False",
        "ScaleRefused",
    ),
    "some are granted": (
        replace(WELL, asked=2, pods=(pod(),), decision=decided(wanted=5), refused=REFUSED),
        "True",
        "Ready",
    ),
    "a misspelt policy": (
        replace(WELL, decision=held("PolicyUnknown", "scaling.policy 'x' is not installed")),
        "False",
        "PolicyUnknown",
    ),
    "a policy that fails": (
        replace(WELL, decision=held("PolicyFailed", "ZeroDivisionError")),
        "False",
        "PolicyFailed",
    ),
    "a misspelt policy beside a worker": (
        replace(WELL, asked=1, pods=(pod(),), decision=held("PolicyUnknown", "x")),
        "True",
        "Ready",
    ),
    "paused without jobs": (replace(WELL, decision=held("Paused", "x")), "True", "ScaledToZero"),
    "paused with jobs": (
        replace(WELL, decision=held("Paused", "x"), is_halted=True),
        "False",
        "Paused",
    ),
    "a dry run with jobs": (
        replace(WELL, decision=held("DryRun", "x"), is_halted=True),
        "False",
        "DryRun",
    ),
    "another autoscaler with jobs": (
        replace(WELL, decision=held("ForeignAutoscaler", "x"), is_halted=True),
        "False",
        "ForeignAutoscaler",
    ),
    "a ceiling of 0 with jobs": (
        replace(WELL, decision=LOWERED, is_halted=True),
        "False",
        "LimitedToZero",
    ),
    "a ceiling of 0 for a moment": (replace(WELL, decision=LOWERED), "True", "ScaledToZero"),
    "an unknown budget with jobs": (
        replace(WELL, decision=decided(trouble=LOST), is_halted=True),
        "False",
        "BudgetUnknown",
    ),
    "nothing is decided yet": (replace(WELL, decision=None), "True", "ScaledToZero"),
}


@pytest.mark.parametrize("name", CASES)
def test_workers_are_ready_when_they_work_or_none_is_needed(name: str) -> None:
    facts, status, reason = CASES[name]

    found = made(facts)

    assert (found["WorkersReady"].status, found["WorkersReady"].reason) == (status, reason)
    is_well = status == "True" or reason == "Starting"
    assert found["Ready"].status == ("True" if is_well else "False")
    assert found["Ready"].reason == ("Ready" if is_well else reason)


def test_no_workers_are_needed_only_if_none_is_wanted() -> None:
    needless = "no workers are needed"

    assert made(replace(WELL, decision=decided()))["WorkersReady"].message == needless
    for decision in (None, held("Paused", "x"), held("DepthUnknown", "x")):
        assert made(replace(WELL, decision=decision))["WorkersReady"].message != needless


def test_what_lowers_the_number_to_zero_is_named() -> None:
    found = made(replace(WELL, decision=LOWERED, is_halted=True))

    assert (
        found["Ready"].message
        == "jobs are waiting, but no worker is requested: window 'night' lowers it to 0"
    )


def test_how_many_are_ready_is_told_beside_why_the_others_are_not() -> None:
    found = made(replace(WELL, asked=4, pods=(pod(),), obstacle=QUOTA))

    assert found["WorkersReady"].message.startswith("1 of 4 workers are ready; Kubernetes refuses")


def test_a_number_that_is_refused_is_a_condition_of_scaling_and_an_event() -> None:
    found = made(replace(WELL, asked=2, pods=(pod(),), decision=decided(), refused=REFUSED))

    assert (found["ScalingActive"].status, found["ScalingActive"].reason) == (
        "False",
        "ScaleRefused",
    )
    assert {"ScaleRefused", "PolicyUnknown", "PolicyFailed"} <= TOLD
