"""Workers of a RabbitMQ of three nodes, whose queues move from node to node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.trio import Trio
from tests.integration.conftest import connected, virtual_host
from tests.integration.worker.conftest import declared
from tests.integration.worker.test_lost_deliveries import began, serving
from tests.integration.worker.workers import Bench, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

JOBS = 24


@pytest.fixture
def bench(three: Trio, tmp_path: Path) -> Iterator[Bench]:
    """Clients and workers connect to the first node."""
    first = three.nodes[0]
    record = {**first.record, "ctl": []}
    with virtual_host(first.series.name, record) as vhost, connected(vhost) as broker:
        try:
            with declared(broker, tmp_path) as bench:
                yield bench
        finally:
            three.restore()


def test_each_job_runs_once_while_its_queue_is_led_by_one_node_after_another(
    bench: Bench, three: Trio
) -> None:
    worker = serving(bench, prefetch=4)
    for number in range(JOBS):
        bench.enqueue("once", number=number, seconds=0.2)

    for moves, to in enumerate((1, 2, 0, 1), 1):
        wait_for(lambda moves=moves: len(began(worker)) >= 4 * moves)
        three.move(bench.queue, vhost=bench.broker.vhost, to=to)

    wait_for(lambda: len(began(worker)) >= JOBS, deadline=60)
    wait_for(bench.is_empty)
    assert sorted(map(int, began(worker))) == list(range(JOBS))


def test_each_job_runs_once_when_the_node_that_leads_its_queue_dies(
    bench: Bench, three: Trio
) -> None:
    worker = serving(bench, prefetch=4)
    three.move(bench.queue, vhost=bench.broker.vhost, to=1)
    for number in range(JOBS):
        bench.enqueue("once", number=number, seconds=0.2)
    wait_for(lambda: len(began(worker)) >= 4)

    three.nodes[1].kill()

    wait_for(lambda: len(began(worker)) >= JOBS, deadline=90)
    wait_for(bench.is_empty, deadline=60)
    assert sorted(map(int, began(worker))) == list(range(JOBS))
