"""Label selectors with the semantics of Kubernetes."""

from collections.abc import Mapping

from longshore_operator.api.v1alpha1 import LabelSelector
from longshore_operator.api.v1alpha1.broker import LabelRequirement


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether `labels` meet all requirements of `selector`."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions
    )


def _meets(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
