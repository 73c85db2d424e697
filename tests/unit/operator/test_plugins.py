import logging
from importlib.metadata import EntryPoint

import pytest

from longshore_operator.core.scaling import BUILT_IN
from longshore_operator.plugins import GROUP, scaling_policies


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


def test_an_installed_policy_is_beside_the_built_in_ones() -> None:
    policies = scaling_policies([entry("same", "longshore_operator.core.scaling.policies:fixed")])

    assert set(policies) == {*BUILT_IN, "same"}


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        pytest.param("gone", "no_such_module:policy", "no_such_module", id="cannot be imported"),
        pytest.param("text", "string:digits", "not callable", id="cannot be called"),
        pytest.param("fixed", "builtins:len", "'fixed' already", id="takes a built-in name"),
    ],
)
def test_one_that_cannot_be_used_is_named_and_left_out(
    name: str, value: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        policies = scaling_policies([entry(name, value)])

    assert dict(policies) == dict(BUILT_IN)
    assert f"{name} = {value}" in vars(caplog.records[0])["fields"]["entry_point"]
    assert what in caplog.text
