"""Whatever happens to connections: no job lost, none charged wrongly, the worker comes back."""

from __future__ import annotations

import signal

import msgspec
import pytest

from longshore.contract.names import AMQP_URL_ENV, REPORTS_EXCHANGE
from longshore.contract.reports import WorkerReport
from tests.integration import topology
from tests.integration.relay import unanswered
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration


def test_a_job_whose_connection_is_killed_is_told_and_runs_again(bench: Bench) -> None:
    worker = bench.started()
    bench.enqueue("interruptible", diary=bench.diary)
    bench.wait_lines(1)
    bench.broker.close_all_connections()
    worker.wait("job-settled", outcome="succeeded")
    # The broker counts the lost delivery, so the second run is the second attempt.
    assert bench.lines() == ["start 1", "DeliveryLost lost=True", "start 2", "end 2"]
    assert worker.events("job-settled", outcome="void")
    assert not worker.events("job-settled", outcome="retried")
    metrics = worker.get("/metrics")[1]
    assert 'longshore_reconnects_total{connection="consume"} 1.0' in metrics
    assert worker.stop() == 0


def test_a_job_of_many_heartbeats_keeps_its_connection(bench: Bench) -> None:
    worker = bench.started(heartbeat="2s")
    bench.enqueue("sleep", diary=bench.diary, seconds=7)
    worker.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["start 1", "end 1"]
    assert len(worker.events("connection-opened")) == 2
    assert not worker.events("consumer-lost")


def test_a_handshake_that_is_not_answered_is_given_up_for_another_one(bench: Bench) -> None:
    with unanswered() as port:
        worker = bench.start(env={AMQP_URL_ENV: f"amqp://guest:guest@127.0.0.1:{port}/"})
        wait_for(lambda: len(worker.events("connection-failed", connection="consume")) >= 3)
        worker.stop()


def test_a_killed_worker_costs_its_job_one_attempt(bench: Bench) -> None:
    first = bench.started()
    bench.enqueue("sleep", diary=bench.diary, seconds=1)
    bench.wait_lines(1)
    first.stop(number=signal.SIGKILL)
    second = bench.started()
    second.wait("job-settled", outcome="succeeded")
    assert bench.lines() == ["start 1", "start 2", "end 2"]


def test_the_operator_hears_of_every_change(bench: Bench) -> None:
    channel = bench.broker.channel
    ear = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(ear, REPORTS_EXCHANGE, bench.queue)
    worker = bench.start(env={"LONGSHORE_POD_NAME": "pod-7"}, slots=2, prefetch=2)

    def report() -> WorkerReport | None:
        _, _, body = channel.basic_get(ear, auto_ack=True)
        return None if body is None else msgspec.json.decode(body, type=WorkerReport)

    idle = wait_for(report)
    assert (idle.worker, idle.queue, idle.slots, idle.busy) == ("pod-7", bench.queue, 2, 0)
    worker.wait("consumer-started")
    bench.enqueue("sleep", diary=bench.diary, seconds=1)
    wait_for(lambda: (seen := report()) and (seen.busy, seen.held) == (1, 1))
    wait_for(lambda: (seen := report()) and (seen.busy, seen.held, seen.succeeded) == (0, 0, 1))
    worker.process.send_signal(signal.SIGTERM)
    wait_for(lambda: (seen := report()) and seen.draining)
    assert worker.exit_code() == 0


def test_readiness_follows_the_connection(bench: Bench) -> None:
    worker = bench.started()
    assert worker.get("/healthz")[0] == 200
    assert worker.get("/readyz")[0] == 200
    assert worker.get("/other")[0] == 404
    bench.broker.channel.queue_delete(bench.queue)
    wait_for(lambda: worker.get("/readyz")[0] == 503)
    topology.declare_queue(bench.broker.channel, bench.queue)
    wait_for(lambda: worker.get("/readyz")[0] == 200)
