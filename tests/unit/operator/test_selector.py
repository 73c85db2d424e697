from typing import Any

import pytest

from longshore_operator.api.v1alpha1 import LabelSelector
from longshore_operator.core.kubernetes.selector import matches

LABELS = {"team": "media", "kubernetes.io/metadata.name": "prod"}


@pytest.mark.parametrize(
    ("selector", "does"),
    [
        ({}, True),
        ({"matchLabels": {"team": "media"}}, True),
        ({"matchLabels": {"team": "media", "tier": "1"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["media"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["media"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        (
            {
                "matchLabels": {"team": "media"},
                "matchExpressions": [{"key": "tier", "operator": "Exists"}],
            },
            False,
        ),
    ],
)
def test_labels_are_compared_as_kubernetes_does(selector: dict[str, Any], does: bool) -> None:
    assert matches(LabelSelector.model_validate(selector), LABELS) is does
