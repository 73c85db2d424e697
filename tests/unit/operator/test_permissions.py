import re

import pytest

from longshore.contract.delays import DELAY_EXCHANGE, route
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE, REPORTS_EXCHANGE
from longshore_operator.core.access.permissions import ROLES, Role, user


def may_publish(role: Role, exchange: str, key: str) -> bool:
    """As RabbitMQ decides: write permission, then topic permission where there is one."""
    someone = user(vhost="longshore", queue="media.transcode", role=role)
    topics = dict(someone.topics)
    return bool(
        re.search(someone.permissions.write, exchange)
        and (exchange not in topics or re.search(topics[exchange].write, key))
    )


@pytest.mark.parametrize(
    ("role", "exchange", "key", "may"),
    [
        ("producer", JOBS_EXCHANGE, "media.transcode", True),
        ("producer", JOBS_EXCHANGE, "media.thumbnail", True),
        ("producer", JOBS_EXCHANGE, "mediax.transcode", False),
        ("producer", JOBS_EXCHANGE, "billing.invoice", False),
        ("producer", JOBS_EXCHANGE, "billing.media.transcode", False),
        ("producer", *route("media.transcode", delay=10), True),
        ("producer", *route("billing.invoice", delay=10), False),
        ("producer", DELAY_EXCHANGE, "media.transcode", False),
        ("producer", DEAD_EXCHANGE, "media.transcode", False),
        ("producer", REPORTS_EXCHANGE, "media.transcode", False),
        ("producer", "longshore.due", "media.transcode", False),
        ("producer", "amq.default", "media.transcode", False),
        ("worker", JOBS_EXCHANGE, "media.thumbnail", True),
        ("worker", *route("media.transcode", delay=10), True),
        ("worker", DEAD_EXCHANGE, "media.transcode", True),
        ("worker", DEAD_EXCHANGE, "media.thumbnail", False),
        ("worker", REPORTS_EXCHANGE, "media.transcode", True),
        ("worker", REPORTS_EXCHANGE, "billing.invoice", False),
        ("worker", "amq.default", "billing.invoice", False),
    ],
)
def test_who_may_publish_what(role: Role, exchange: str, key: str, may: bool) -> None:
    assert may_publish(role, exchange, key) is may


@pytest.mark.parametrize(
    ("role", "queue", "may"),
    [
        ("worker", "media.transcode", True),
        ("worker", "media.transcode.dead", False),
        ("worker", "media.thumbnail", False),
        ("worker", "mediaxtranscode", False),
        ("producer", "media.transcode", False),
    ],
)
def test_who_may_consume_what(role: Role, queue: str, may: bool) -> None:
    someone = user(vhost="longshore", queue="media.transcode", role=role)

    assert bool(re.search(someone.permissions.read, queue)) is may


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", ["media.transcode", "amq.gen-1", "longshore.jobs", "x"])
def test_nobody_configures_anything(role: Role, name: str) -> None:
    someone = user(vhost="longshore", queue="media.transcode", role=role)

    assert not re.search(someone.permissions.configure, name)


def test_a_worker_may_read_the_queue_that_was_taken_over_and_no_other() -> None:
    """Its name is taken literally."""
    one = user(vhost="longshore", queue="media.transcode", role="worker", source="a.b|c")

    assert re.search(one.permissions.read, "a.b|c")
    assert not re.search(one.permissions.read, "a.b")
    assert not re.search(one.permissions.read, "media.transcode")
    assert dict(one.topics)[DEAD_EXCHANGE].write == r"^media\.transcode$"
