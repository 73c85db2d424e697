import re
from typing import Any

import pytest

from longshore.contract.features import Features
from longshore.contract.names import DUE_EXCHANGE, JOBS_EXCHANGE, LOST
from longshore_operator.core.kubernetes.workload import timeouts
from longshore_operator.core.rabbitmq.policies import QueuePolicy
from longshore_operator.core.rabbitmq.rosters import JOBS, ROSTERS, policies_in_force
from longshore_operator.core.rabbitmq.topology import (
    Topology,
    entry_bindings,
    task_queue_topology,
    vhost_topology,
)
from tests.unit.operator.specs import OWNER, V4_0, V4_3, spec


def topology(features: Features = V4_3, **parts: Any) -> Topology:
    task_queue = spec(**parts)
    return task_queue_topology(
        queue=OWNER.queue,
        spec=task_queue,
        timeouts=timeouts(task_queue, features=features),
        features=features,
    )


def own(found: Topology, name: str) -> QueuePolicy:
    (policy,) = [policy for policy in found.policies if policy.name == f"longshore.own.{name}"]
    return policy


def winners(queue: str) -> list[str]:
    policies = [p for p in vhost_topology().policies if re.search(p.pattern, queue)]
    return [policy.name for policy in policies]


def test_the_ladder_has_28_levels_that_lose_nothing() -> None:
    levels = [q for q in vhost_topology().queues if q.name.startswith("longshore.delay.")]

    assert [q.arguments["x-message-ttl"] for q in levels] == [2**n * 1000 for n in range(28)]
    assert all(q.arguments["x-dead-letter-strategy"] == "at-least-once" for q in levels)
    assert all(q.arguments["x-overflow"] == "reject-publish" for q in levels)


def test_the_ladder_ends_where_a_job_without_a_queue_is_kept_and_blocks_nobody() -> None:
    exchanges = {exchange.name: exchange for exchange in vhost_topology().exchanges}
    bottom = next(q for q in vhost_topology().queues if q.name == "longshore.delay.00")

    assert bottom.arguments["x-dead-letter-exchange"] == DUE_EXCHANGE
    assert exchanges[DUE_EXCHANGE].arguments == {"alternate-exchange": LOST}
    assert exchanges[JOBS_EXCHANGE].arguments == {}, "producers want their job returned"


@pytest.mark.parametrize(
    ("queue", "policies"),
    [
        ("media.transcode", []),
        ("media.transcode.dead", []),
        ("longshore.delay.27", ["longshore.delay"]),
        ("longshore.delay.dead", []),
        ("longshore.lost", ["longshore.lost"]),
        ("amq.gen-Xy1", []),
        ("somebody_elses", []),
    ],
)
def test_the_policies_of_a_whole_vhost_match_what_all_share_alone(
    queue: str, policies: list[str]
) -> None:
    assert winners(queue) == policies


def test_a_queue_with_default_settings_rides_on_the_default_policies() -> None:
    found = topology()

    assert found.policies == ()
    assert [(each.name, each.pattern) for each in found.absent_policies] == [
        ("longshore.own.media.transcode", r"^media\.transcode$"),
        ("longshore.own.media.transcode.dead", r"^media\.transcode\.dead$"),
    ]


def test_a_deviating_queue_gets_a_whole_policy_of_its_own_that_wins() -> None:
    policy = own(topology(queue={"maxLength": 50, "maxAge": "90s"}), "media.transcode")

    (defaults,) = ROSTERS[JOBS].changed({}, add={"media.transcode"}).policies
    changed = {"max-length": 50, "message-ttl": 90_000}
    assert policy.definition == {**defaults.definition, **changed}
    assert policy.priority > defaults.priority
    assert policy.pattern == r"^media\.transcode$"


def test_before_4_3_a_policy_sets_the_ack_timeout() -> None:
    policy = own(topology(V4_0), "media.transcode")

    assert policy.definition["consumer-timeout"] == (7200 + 5 + 120 + 60) * 1000


def test_dead_letters_are_kept_as_long_as_the_spec_says() -> None:
    policy = own(topology(deadLetter={"retention": "1h", "maxLength": 9}), "media.transcode.dead")

    assert policy.definition == {"message-ttl": 3_600_000, "max-length": 9}


def test_direct_and_delayed_jobs_each_have_their_way_in() -> None:
    ways = {(binding.source, binding.key) for binding in entry_bindings("media.transcode")}

    assert ways == {
        (JOBS_EXCHANGE, "media.transcode"),
        (DUE_EXCHANGE, "#.media.transcode"),
    }


def test_a_full_queue_may_let_its_oldest_jobs_go() -> None:
    """At-least-once dead-lettering would silently be at-most-once with drop-head: it says so."""
    policy = own(topology(queue={"maxLength": 5, "overflow": "DropHead"}), "media.transcode")

    assert policy.definition["overflow"] == "drop-head"
    assert policy.definition["dead-letter-strategy"] == "at-most-once"


def test_the_delivery_limit_is_the_specs() -> None:
    policy = own(topology(queue={"deliveryLimit": 7}), "media.transcode")

    assert policy.definition["delivery-limit"] == 7


ADOPTED = {"name": "team/orders.1", "type": "Classic"}


def test_a_queue_that_is_taken_over_is_not_declared_but_reached() -> None:
    found = topology(queue=ADOPTED)

    assert [queue.name for queue in found.queues] == ["media.transcode.dead"]
    assert {(b.source, b.key) for b in found.bindings if b.destination == "team/orders.1"} == {
        (JOBS_EXCHANGE, "media.transcode"),
        (DUE_EXCHANGE, "#.media.transcode"),
    }


def test_a_classic_queues_policy_has_only_keys_that_it_knows() -> None:
    """With another one RabbitMQ passes over the whole policy."""
    policy = own(topology(queue=ADOPTED), "media.transcode")

    assert policy.apply_to == "classic_queues"
    assert policy.pattern == r"^team/orders\.1$"
    assert policy.definition == {
        "dead-letter-exchange": "longshore.dead",
        "dead-letter-routing-key": "media.transcode",
        "overflow": "reject-publish",
    }


def test_the_policies_that_should_be_in_force() -> None:
    found = topology(queue={"maxLength": 5})

    assert policies_in_force(found.policies, queue="media.transcode", source="media.transcode") == {
        "media.transcode": "longshore.own.media.transcode",
        "media.transcode.dead": "longshore.dead",
    }
