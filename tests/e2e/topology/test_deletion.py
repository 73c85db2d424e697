"""What stays in RabbitMQ when a TaskQueue goes; that it always goes is in `test_brokers` too."""

import pytest

from dev.errors import CommandFailed
from dev.kube import wait_for
from longshore.contract.names import DEAD_EXCHANGE, JOBS_EXCHANGE, dead_queue_name
from tests.e2e.tenant import Tenant
from tests.e2e.topology.rabbitmqs import VHOST, RabbitMQ

POLICIES = {
    "full": "RetainIfNotEmpty",
    "empty": "RetainIfNotEmpty",
    "kept": "Retain",
    "dropped": "Delete",
}


@pytest.mark.slow
def test_the_deletion_policy_says_what_stays(tenant: Tenant, rabbitmq: RabbitMQ) -> None:
    for name, policy in POLICIES.items():
        tenant.apply(name, deletionPolicy=policy, scaling={"paused": True})
    tenant.wait_until_declared(*POLICIES)
    with rabbitmq.channel() as channel:
        for name in ("full", "dropped"):
            for exchange in (JOBS_EXCHANGE, DEAD_EXCHANGE):
                rabbitmq.publish(channel, exchange=exchange, key=tenant.queue(name))

    tenant.remove(*POLICIES)

    depths = {name: rabbitmq.depth(tenant.queue(name)) for name in POLICIES}
    assert depths == {"full": 1, "empty": None, "kept": 0, "dropped": None}
    dead = {name: rabbitmq.depth(dead_queue_name(tenant.queue(name))) for name in POLICIES}
    assert dead == depths
    users = {user for user in rabbitmq.names("users") if f".{tenant.namespace}." in user}
    assert users == set()
    assert any(tenant.queue("full") in each for each in tenant.events("QueueRetained"))

    # What stayed is taken up again by a TaskQueue of the same name.
    tenant.apply("full")
    wait_for("its job is done", lambda: tenant.jobs("full").get("succeeded") == 1, seconds=60)
    tenant.delete()
    with pytest.raises(CommandFailed, match="NotFound"):
        tenant.kube.get("namespace", tenant.namespace)
    for name in ("full", "kept"):
        for queue in (tenant.queue(name), dead_queue_name(tenant.queue(name))):
            rabbitmq.answer("DELETE", "queues", VHOST, queue)
