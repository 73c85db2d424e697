"""A RabbitMQ that is short of memory or disk space answers, and takes no jobs."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dev.private import Private
from longshore_operator.app.sessions.keeper import Brokers
from longshore_operator.app.sessions.session import Session
from tests.integration.operator.brokers import SECRET, keeping, outcome, registered
from tests.integration.operator.conftest import secret
from tests.integration.operator.fakes import Kubernetes
from tests.integration.operator.task_queues import until

ALARMS = {
    "MemoryAlarm": (
        ("set_vm_memory_high_watermark", "absolute", "1MB"),
        ("set_vm_memory_high_watermark", "absolute", "4GB"),
    ),
    "DiskAlarm": (("set_disk_free_limit", "900000GB"), ("set_disk_free_limit", "1MB")),
}


def ready(kubernetes: Kubernetes) -> tuple[str, str, str]:
    """Status, reason and message of the Broker, as they were written last."""
    condition = kubernetes.statuses[-1]["conditions"][0]
    return condition["status"], condition["reason"], condition["message"]


@pytest.mark.parametrize("reason", ALARMS)
async def test_an_alarm_is_the_brokers_condition_within_fifteen_seconds_and_ends_with_it(
    own: Private, reason: str
) -> None:
    kubernetes = Kubernetes(secrets={SECRET: secret(own.record)})
    port = int(own.record["amqp"].rstrip("/").rpartition(":")[2])
    broker = registered(
        host="127.0.0.1", port=port, managementURL=own.record["management"], vhost="alarms"
    )
    begin, end = ALARMS[reason]
    async with keeping(broker, kubernetes=kubernetes) as brokers:
        assert isinstance(session := await outcome(brokers), Session)

        def said(*expected: str) -> Callable[[], Awaitable[bool]]:
            async def look() -> bool:
                return bool(kubernetes.statuses) and ready(kubernetes)[:2] == expected

            return look

        await until(said("True", "Connected"), within=15)
        try:
            await asyncio.to_thread(own.rabbitmqctl, *begin)
            await until(said("False", reason), within=15)
            node = (await asyncio.to_thread(own.rabbitmqctl, "eval", "node().")).strip().strip("'")
            assert node in ready(kubernetes)[2]
            assert _is_scaled(brokers), "what is known of queues is acted on all the same"
            assert session.alarm is not None
        finally:
            await asyncio.to_thread(own.rabbitmqctl, *end)
        await until(said("True", "Connected"), within=15)


def _is_scaled(brokers: Brokers) -> bool:
    return brokers.session("default") is not None and brokers.trouble("default") is None
