"""Workers of a RabbitMQ of three nodes, whose queues move from node to node."""

from __future__ import annotations

import signal
import time
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

        def have_begun(count: int = 4 * moves) -> bool:
            return len(began(worker)) >= count

        wait_for(have_begun)
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


def test_the_job_of_a_worker_that_takes_no_more_outlives_its_node(
    bench: Bench, three: Trio
) -> None:
    """Before 4.3 RabbitMQ forgets what a cancelled consumer holds on a node that ends; since then
    it waits for the node for a minute."""
    first, second = three.nodes[0], three.nodes[1]
    three.move(bench.queue, vhost=bench.broker.vhost, to=1)
    worker = bench.started(slots=2, prefetch=2)
    bench.enqueue("sleep", diary=bench.diary, seconds=60)
    bench.wait_lines(1)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait("worker-draining")
    time.sleep(2)  # its consumer is cancelled by then, of which nothing is told
    bench.enqueue("write", diary=bench.diary)
    time.sleep(2)
    assert bench.lines() == ["start 1"]

    first.kill()

    bench.amqp = bench.broker.amqp.replace(f":{first.series.amqp}/", f":{second.series.amqp}/")
    another = bench.started(slots=2, prefetch=2)
    wait_for(lambda: len(bench.lines()) == 3, deadline=120, why=another.text)
    assert [line.split()[0] for line in sorted(bench.lines())] == ["done", "start", "start"]
