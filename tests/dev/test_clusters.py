"""Which cluster is chosen, and what a wrong choice says."""

from __future__ import annotations

import pytest

from dev import clusters
from dev.errors import DevError


@pytest.mark.parametrize(
    ("wanted", "reachable", "has_kind", "expected"),
    [
        pytest.param(None, True, True, "kubeconfig", id="unset-prefers-a-reachable-cluster"),
        pytest.param("auto", True, False, "kubeconfig", id="auto-prefers-a-reachable-cluster"),
        pytest.param("auto", False, True, "kind", id="auto-then-kind"),
        pytest.param("auto", False, False, "embedded", id="auto-at-last-embedded"),
        pytest.param("", False, False, "embedded", id="empty-is-auto"),
        pytest.param("embedded", True, True, "embedded", id="said-embedded"),
        pytest.param("kind", True, False, "kind", id="said-kind"),
        pytest.param("kubeconfig", False, True, "kubeconfig", id="said-kubeconfig"),
    ],
)
def test_the_cluster_is_the_one_named_or_the_first_to_be_had(
    wanted: str | None, reachable: bool, has_kind: bool, expected: str
) -> None:
    environment = {} if wanted is None else {clusters.CHOICE: wanted}

    chosen = clusters.choose(environment, reachable=lambda: reachable, has_kind=lambda: has_kind)

    assert chosen == expected


def test_a_choice_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(DevError, match="LONGSHORE_CLUSTER='minikube': it is one of auto, kube"):
        clusters.choose(
            {clusters.CHOICE: "minikube"}, reachable=lambda: False, has_kind=lambda: False
        )


def test_a_named_cluster_is_not_looked_for() -> None:
    def must_not_be_asked() -> bool:
        raise AssertionError

    clusters.choose(
        {clusters.CHOICE: "embedded"}, reachable=must_not_be_asked, has_kind=must_not_be_asked
    )
