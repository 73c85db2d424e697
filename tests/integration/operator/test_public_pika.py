"""Depths, reports, orders, publications and a careful deletion by pika's public API alone."""

import pytest

from longshore.contract.names import JOBS_EXCHANGE
from tests.integration.operator.task_queues import Tenants, made
from tests.integration.operator.test_deletion import delete, left
from tests.integration.operator.test_depths import (
    test_each_queue_has_its_own_depth_whichever_are_missing,
    test_the_same_connection_is_read_again_and_again,
)
from tests.integration.operator.test_orders import (
    tenants,
    test_an_order_reaches_the_worker_that_is_meant_and_no_other,
)
from tests.integration.operator.test_publishing import (
    test_a_job_stands_in_its_queue_when_the_call_returns,
    test_what_was_not_stored_is_told_and_the_next_job_arrives,
)
from tests.integration.public_pika import public_api_alone

__all__ = [
    "public_api_alone",
    "tenants",
    "test_a_job_stands_in_its_queue_when_the_call_returns",
    "test_an_order_reaches_the_worker_that_is_meant_and_no_other",
    "test_each_queue_has_its_own_depth_whichever_are_missing",
    "test_the_same_connection_is_read_again_and_again",
    "test_what_was_not_stored_is_told_and_the_next_job_arrives",
]


@pytest.mark.parametrize("jobs", [0, 1])
async def test_only_an_empty_queue_is_deleted(tenants: Tenants, jobs: int) -> None:
    queue = made()
    await tenants.reconcile(queue)
    for _ in range(jobs):
        tenants.publish(queue, exchange=JOBS_EXCHANGE, key=queue.owner.queue)

    await delete(tenants, queue)

    assert (queue.owner.queue in await left(tenants)) == bool(jobs)
