from typing import Any

import pytest

from longshore_operator.api.v1alpha1 import QueueType
from longshore_operator.core.rabbitmq.adoption import reserved, shortcomings, unfit
from longshore_operator.core.rabbitmq.inventory import QueueState
from tests.unit.operator.specs import V4_0, V4_3


def state(**parts: Any) -> QueueState:
    """A classic queue as Celery declares it, changed by `parts`."""
    celerys: dict[str, Any] = {
        "type": "classic",
        "is_durable": True,
        "is_auto_deleted": False,
        "arguments": {},
        "policy": None,
    }
    return QueueState(**celerys | parts)


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("celery", None),
        ("team/orders", None),
        ("Orders.new", None),
        ("media.transcode", None),
        ("media.transcode.dead", None),
        ("mediax.transcode", "'mediax'"),
        ("billing.invoice", "'billing'"),
        ("billing.invoice.dead", "'billing'"),
        ("longshore.delay.00", "longshore"),
        ("amq.gen-Xy", "amq"),
    ],
)
def test_what_looks_like_another_namespaces_is_taken_for_it(name: str, whose: str | None) -> None:
    found = reserved(name, namespace="media")

    assert (found is None) is (whose is None)
    assert whose is None or whose in str(found)


@pytest.mark.parametrize(
    ("found", "type", "words"),
    [
        (state(), QueueType.CLASSIC, None),
        (state(type="quorum"), QueueType.QUORUM, None),
        (state(), QueueType.QUORUM, "is a classic queue, but spec.queue.type says Quorum"),
        (state(type="stream"), QueueType.CLASSIC, "is a stream queue"),
        (state(is_durable=False), QueueType.CLASSIC, "is not durable"),
        (state(is_auto_deleted=True), QueueType.CLASSIC, "is not durable"),
    ],
)
def test_a_queue_that_cannot_keep_jobs_is_unfit(
    found: QueueState, type: QueueType, words: str | None
) -> None:
    why = unfit("celery", found, type=type)

    assert (why is None) is (words is None)
    assert words is None or words in str(why)


def test_a_quorum_queue_without_arguments_lacks_nothing() -> None:
    assert shortcomings("q", state(type="quorum"), features=V4_3) == ()


def test_a_classic_queue_has_no_ack_timeout_from_4_3_on() -> None:
    before, after = (
        "; ".join(shortcomings("q", state(), features=features)) for features in (V4_0, V4_3)
    )

    assert "no deliveries" in before
    assert "ack timeout" not in before
    assert "ack timeout" in after


def test_arguments_that_are_stronger_than_a_policy_are_told() -> None:
    arguments = {"x-dead-letter-exchange": "theirs", "x-max-priority": 10}
    said = "; ".join(shortcomings("q", state(arguments=arguments), features=V4_0))

    assert "dead letters elsewhere" in said
    assert "priorities" not in said
