"""Objects of the Kubernetes API, also those that an older CRD has let in."""

from typing import Any

import pytest

from longshore_operator.app.watched.objects import broker


@pytest.mark.parametrize(
    "status",
    [{"features": {"nackIsFree": True}}, {"conditions": "none"}, {"taskQueues": "many"}, None],
    ids=str,
)
def test_a_broker_is_there_whatever_its_status_says(status: Any) -> None:
    """Were it not, deletions of its TaskQueues would be given up at once."""
    found = broker(
        {
            "metadata": {"name": "default", "uid": "u"},
            "spec": {"secretRef": {"name": "rabbit", "namespace": "mq"}},
            "status": status,
        }
    )

    assert found is not None
    assert found.spec.secret_ref.name == "rabbit"
    assert found.status.conditions == ()
    assert found.raw_status == (status or {})
