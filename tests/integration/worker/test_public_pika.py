"""A worker by pika's public API alone: slower, and otherwise the same."""

from __future__ import annotations

import pytest

from longshore.contract.message import DEAD_REASON
from tests.integration.public_pika import WORKER, public_api_alone
from tests.integration.worker.test_parts import (
    bugs,
    queue,
    test_a_connection_that_ends_with_two_subscriptions_costs_its_deliveries_alone,
    test_a_message_over_which_the_channel_closes_is_found_out_and_others_arrive,
    test_nothing_is_sent_over_channels_whose_connection_has_ended,
)
from tests.integration.worker.workers import Bench

__all__ = [
    "bugs",
    "public_api_alone",
    "queue",
    "test_a_connection_that_ends_with_two_subscriptions_costs_its_deliveries_alone",
    "test_a_message_over_which_the_channel_closes_is_found_out_and_others_arrive",
    "test_nothing_is_sent_over_channels_whose_connection_has_ended",
]

pytestmark = pytest.mark.integration


def test_jobs_end_well_or_as_dead_letters_and_a_stop_leaves_the_rest(bench: Bench) -> None:
    worker = bench.started(command=WORKER, slots=2, prefetch=4)
    for number in range(20):
        bench.enqueue("write", diary=bench.diary, text=str(number))
    worker.wait("job-settled", count=20, outcome="succeeded")
    assert sorted(bench.lines()) == sorted(f"{number} 1" for number in range(20))

    job = bench.enqueue("fail", diary=bench.diary)
    properties, _ = bench.dead()
    assert (properties.message_id, properties.headers[DEAD_REASON]) == (job, "max-attempts")

    assert worker.stop() == 0
    assert bench.is_empty()
