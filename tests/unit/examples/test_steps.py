"""The example of a scaling policy."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from longshore_operator.api.v1alpha1 import Scaling
from longshore_operator.core.scaling import Observation, Wanted, decide
from longshore_operator.plugin_checks import check_scaling_policy
from longshore_operator.plugins import GROUP, scaling_policies

EXAMPLE = Path(__file__).parents[3] / "examples/plugins/steps"
SCALING = Scaling.model_validate(
    {
        "max": 40,
        "policy": "steps",
        "policyOptions": {"steps": [{"jobs": 50, "workers": 8}, {"jobs": 1000, "workers": 40}]},
    }
)


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> EntryPoint:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"][GROUP].items()
    return EntryPoint(name=name, value=value, group=GROUP)


def test_it_keeps_the_contract(entry: EntryPoint) -> None:
    check_scaling_policy(entry.load(), scaling=SCALING)


def test_the_operator_decides_with_it(entry: EntryPoint) -> None:
    decision = decide(
        SCALING,
        slots=1,
        observation=Observation(ready=60, workers=(), replicas=0),
        memory=None,
        now=0.0,
        policies=scaling_policies([entry]),
    )

    assert decision.replicas == 8
    assert "step of 50" in decision.why[0]


def test_a_policy_that_breaks_the_contract_is_told_where() -> None:
    with pytest.raises(AssertionError, match="no worker for waiting jobs"):
        check_scaling_policy(lambda _: Wanted(0, ("lazy",)))
