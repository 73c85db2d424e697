"""Where objects are looked up without kubectl."""

from __future__ import annotations

import pytest

from dev.reader import path_of


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["namespaces"], "/api/v1/namespaces"),
        (["namespace", "a"], "/api/v1/namespaces/a"),
        (["pods", "--namespace=a"], "/api/v1/namespaces/a/pods"),
        (["deployment", "b", "--namespace=a"], "/apis/apps/v1/namespaces/a/deployments/b"),
        (["tq", "b", "--namespace=a"], "/apis/longshore.dev/v1alpha1/namespaces/a/taskqueues/b"),
        (["broker", "b"], "/apis/longshore.dev/v1alpha1/brokers/b"),
        (["pods", "--selector=a=b,c"], "/api/v1/pods?labelSelector=a%3Db%2Cc"),
        (["events", "--field-selector=reason=A"], "/api/v1/events?fieldSelector=reason%3DA"),
    ],
)
def test_what_kubectl_would_look_up_has_a_path(words: list[str], path: str) -> None:
    assert path_of(words) == path


@pytest.mark.parametrize(
    "words",
    [[], ["gadgets"], ["pods", "a", "b"], ["taskqueues,secrets"], ["pods", "--all-namespaces"]],
    ids=" ".join,
)
def test_what_only_kubectl_knows_is_left_to_it(words: list[str]) -> None:
    assert path_of(words) is None
