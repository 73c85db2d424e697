"""A worker obeys: it takes no jobs while cordoned, says so, and is never left deaf."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import pytest

from longshore.contract.names import POD_NAME_ENV, REPORTS_EXCHANGE
from longshore.contract.orders import Order
from longshore.contract.reports import WorkerReport
from tests.integration.worker.workers import Bench, Worker, wait_for

pytestmark = pytest.mark.integration

POD = "work-worker-1"


class Operator:
    """Hears reports and gives orders, with the test's own connection."""

    def __init__(self, bench: Bench) -> None:
        self._channel = bench.broker.channel
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, REPORTS_EXCHANGE, bench.queue)
        self.reports: list[WorkerReport] = []
        self._address = ""

    def order(self, kind: str, id: str, **more: Any) -> None:
        order = msgspec.convert({"kind": kind, "id": id, **more}, Order)
        self.say(msgspec.json.encode(order))

    def say(self, body: bytes) -> None:
        wait_for(lambda: self._address or self._next())
        self._channel.basic_publish("", self._address, body)

    def hears(self, holds: Callable[[WorkerReport], bool]) -> WorkerReport:
        """The first report from now on of which this holds."""

        def look() -> WorkerReport | None:
            while (report := self._next()) is not None:
                if holds(report):
                    return report
            return None

        return wait_for(look, why=lambda: self.reports[-5:])

    def forget(self) -> None:
        self._channel.queue_purge(self._queue)

    def _next(self) -> WorkerReport | None:
        _, properties, body = self._channel.basic_get(self._queue, auto_ack=True)
        if body is None:
            return None
        self._address = properties.reply_to
        report = msgspec.json.decode(body, type=WorkerReport)
        self.reports.append(report)
        return report


def started(bench: Bench, **config: Any) -> tuple[Worker, Operator]:
    operator = Operator(bench)
    worker = bench.started(env={POD_NAME_ENV: POD}, **config)
    return worker, operator


def test_a_cordoned_worker_takes_no_job_until_it_is_uncordoned(bench: Bench) -> None:
    worker, operator = started(bench)
    operator.order("cordon", "one")
    operator.hears(lambda report: report.cordon == "one" and report.held == 0)

    bench.enqueue("write", diary=bench.diary)
    wait_for(lambda: bench.ready() == 1)
    assert worker.get("/readyz")[0] == 200
    assert bench.lines() == []

    operator.order("uncordon", "one")
    assert bench.wait_lines(1) == ["done 1"]
    assert operator.hears(lambda report: report.succeeded == 1).cordon is None


def test_a_cordoned_worker_ends_the_job_that_it_has_and_reports_both(bench: Bench) -> None:
    _, operator = started(bench)
    bench.enqueue("sleep", diary=bench.diary, seconds=2)
    bench.wait_lines(1)
    bench.enqueue("write", diary=bench.diary)

    operator.order("cordon", "one")

    assert operator.hears(lambda report: report.cordon == "one").held == 1
    report = operator.hears(lambda report: report.held == 0)
    assert (report.cordon, report.succeeded, report.ran) == ("one", 1, 1)
    assert report.run_seconds == pytest.approx(2, abs=0.5)
    assert bench.ready() == 1


def test_a_worker_uncordoned_with_a_job_takes_no_other_behind_it(bench: Bench) -> None:
    _, operator = started(bench)
    bench.enqueue("sleep", diary=bench.diary, seconds=2)
    bench.wait_lines(1)
    operator.order("cordon", "one")
    operator.hears(lambda report: report.cordon == "one")
    bench.enqueue("write", diary=bench.diary)

    operator.order("uncordon", "one")

    operator.hears(lambda report: report.cordon is None)
    assert bench.wait_lines(3)[1:] == ["end 1", "done 1"]
    assert max(report.held for report in operator.reports) == 1


def test_a_cordon_that_nobody_renews_ends_by_itself(bench: Bench) -> None:
    worker, operator = started(bench)
    operator.order("cordon", "one", lease=1.0)
    operator.hears(lambda report: report.cordon == "one")

    worker.wait("worker-uncordoned", reason="lease-expired")

    bench.enqueue("write", diary=bench.diary)
    bench.wait_lines(1)


def test_a_cordon_outlives_the_connections(bench: Bench) -> None:
    worker, operator = started(bench)
    operator.order("cordon", "one")
    operator.hears(lambda report: report.cordon == "one")

    close_connections_of_workers(bench)

    worker.wait("operator-line-opened", count=2)
    wait_for(lambda: worker.get("/readyz")[0] == 200)
    bench.enqueue("write", diary=bench.diary)
    operator.forget()
    assert operator.hears(lambda report: True).cordon == "one"
    assert bench.lines() == []
    operator.order("uncordon", "one")
    bench.wait_lines(1)


def test_orders_may_come_twice_or_be_nonsense(bench: Bench) -> None:
    worker, operator = started(bench)
    for body in (b"\xff{", b"{}", json.dumps({"kind": "dance", "id": "x"}).encode()):
        operator.say(body)
    worker.wait("order-unreadable", count=3)
    for _ in range(2):
        operator.order("cordon", "one")
    operator.hears(lambda report: report.cordon == "one")
    operator.order("cordon", "two")
    operator.hears(lambda report: report.cordon == "two")
    for _ in range(2):
        operator.order("uncordon", "two")

    bench.enqueue("write", diary=bench.diary)
    bench.wait_lines(1)
    worker.stop()
    assert len(worker.events("worker-uncordoned")) == 1


def test_a_busy_worker_with_many_short_jobs_stops_and_goes_on(bench: Bench) -> None:
    _, operator = started(bench, prefetch="auto", slots=2)
    for _ in range(1500):
        bench.enqueue("nothing")
    operator.hears(lambda report: report.succeeded > 50)

    for number in range(3):
        operator.order("cordon", str(number))
        done = operator.hears(lambda report: report.cordon is not None and not report.held)
        operator.order("uncordon", str(number))

        def is_going_on(report: WorkerReport, before: WorkerReport = done) -> bool:
            return report.succeeded >= before.succeeded

        operator.hears(is_going_on)

    last = operator.hears(lambda report: report.succeeded == 1500)
    assert last.ran == 1500


def test_a_cordoned_worker_drains(bench: Bench) -> None:
    worker, operator = started(bench)
    operator.order("cordon", "one")
    operator.hears(lambda report: report.cordon == "one")

    assert worker.stop() == 0


def test_a_drain_can_be_ordered_and_ends_the_job_first(bench: Bench) -> None:
    worker, operator = started(bench)
    bench.enqueue("sleep", diary=bench.diary, seconds=2)
    bench.wait_lines(1)

    for _ in range(2):
        operator.order("drain", "end")
    worker.wait("worker-draining")
    # The signal that the order stands in for may come after all: it is the first, and kills nobody.
    worker.process.send_signal(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert bench.lines() == ["start 1", "end 1"]
    assert bench.is_empty()


def test_reports_tell_how_long_jobs_wait_and_since_when_the_worker_consumes(bench: Bench) -> None:
    bench.enqueue("write", diary=bench.diary)
    _, operator = started(bench)

    report = operator.hears(lambda report: report.succeeded == 1)

    assert report.wait is not None
    assert report.wait >= 0
    assert report.consuming_at is not None
    assert report.consuming_at >= report.started_at


def close_connections_of_workers(bench: Bench) -> None:
    broker = bench.broker
    where = urlsplit(broker.amqp)
    auth = (where.username or "", where.password or "")
    with httpx.Client(base_url=broker.management, auth=auth, timeout=30) as management:

        def names() -> list[str]:
            listed = management.get(f"/api/vhosts/{broker.vhost}/connections").json()
            return [each["name"] for each in listed if POD in str(each.get("client_properties"))]

        # Statistics take some seconds to know of a connection.
        wait_for(lambda: len(names()) == 2)
        for name in names():
            management.delete(f"/api/connections/{quote(name, safe='')}").raise_for_status()
