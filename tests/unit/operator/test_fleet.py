"""What the operator keeps of what workers report: whoever has a worker's credentials sends that."""

import json
import logging
from types import SimpleNamespace

import pytest

from longshore.contract.reports import STALE_AFTER
from longshore_operator.adapters.rabbitmq.fleet import COMPLAIN_EVERY, MOST_BYTES, Fleet
from longshore_operator.api.v1alpha1 import MOST_WORKERS
from tests.integration.operator.lines import report_of

QUEUE = "media.transcode"
SENDER = SimpleNamespace(
    reply_to="amq.rabbitmq.reply-to.g1h2AA5yZXBseUA2NzkzODE2NAAAw3kAAAAAawHV6w=="
    ".b4Ff5VFaIyo6lexV5Dn2+g=="
)


class Listening:
    """A fleet at a time of the test's choice."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fleet = Fleet(clock=lambda: self.now)

    def take(self, body: bytes, *, queue: str = QUEUE) -> None:
        self.fleet._take(None, SimpleNamespace(routing_key=queue), SENDER, body)

    def workers(self) -> set[str]:
        return set(self.fleet.reports(QUEUE))


def test_a_report_of_megabytes_is_dropped() -> None:
    listening = Listening()
    listening.take(json.dumps(json.loads(report_of("huge")) | {"padding": "x" * 2**20}).encode())
    listening.take(report_of("w" * 253, queue="q" * 255))

    assert listening.workers() == {"w" * 253}


def test_the_largest_report_of_a_worker_is_read() -> None:
    largest = report_of(
        "w" * 253, queue="q" * 255, cordon="c" * 64, started_at=2**53, run_seconds=1e12 / 3
    )

    assert 4 * len(largest) < MOST_BYTES


def test_a_report_is_kept_under_the_queue_that_rabbitmq_has_checked_and_no_other_name() -> None:
    listening = Listening()
    listening.take(report_of("p", queue="somebody.elses"))

    assert listening.fleet.reports(QUEUE)["p"].queue is QUEUE


def test_a_flood_of_unreadable_reports_is_one_line_of_the_log_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening = Listening()
    with caplog.at_level(logging.WARNING):
        for _ in range(500):
            listening.take(b"\xff")
        listening.take(b"\xff", queue="billing.invoice")
        listening.now = COMPLAIN_EVERY + 1
        listening.fleet.forget_silent()
        listening.take(b"\xff")

    told = [vars(record)["fields"] for record in caplog.records]
    lines = [(each["task_queue"], each["not_logged"]) for each in told]
    assert lines == [(QUEUE, 0), ("billing.invoice", 0), (QUEUE, 499)]


def test_names_beyond_all_workers_are_dropped_until_others_are_silent() -> None:
    listening = Listening()
    for number in range(MOST_WORKERS):
        listening.take(report_of(f"old-{number}"))
    listening.take(report_of("invented"))

    assert "invented" not in listening.workers()
    assert len(listening.workers()) == MOST_WORKERS

    # As after a rollout: half of them are gone, their replacements are there.
    listening.now = STALE_AFTER + 1
    for number in range(MOST_WORKERS // 2):
        listening.take(report_of(f"old-{number}"))
    for number in range(MOST_WORKERS // 2):
        listening.take(report_of(f"new-{number}"))

    assert len(listening.workers()) == MOST_WORKERS
    assert {"old-0", "new-0", f"new-{MOST_WORKERS // 2 - 1}"} <= listening.workers()
