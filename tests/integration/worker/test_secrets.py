"""No password is written anywhere, whatever becomes of the connection.

The fixture `bench` looks into all that each worker of these tests wrote; here are the ways in which
a worker says more than usual.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from longshore.contract.names import AMQP_URL_ENV
from tests.integration import secret
from tests.integration.relay import Relay
from tests.integration.worker.workers import Bench

pytestmark = pytest.mark.integration


def test_the_check_of_all_these_tests_finds_a_password(bench: Bench) -> None:
    bench.started()
    (written,) = [secret.files(worker.stdout) for worker in bench.workers]
    assert secret.leaks(written | {"elsewhere": f"amqp://u:{secret.PASSWORD}@h"}) == {
        "elsewhere": [f"amqp://u:{secret.PASSWORD}@h"]
    }


@pytest.mark.parametrize(
    "form",
    [
        "amqp://{}@host:5672/v",  # its own '/' and '@' unescaped
        "{}@host",
        "amqp://{}@host:port/",
        "amqp://host/?heartbeat={}",
        "amqp://{}\u2100@host/",
    ],
)
def test_an_address_that_cannot_be_read_is_not_written(bench: Bench, form: str) -> None:
    url = form.replace("{}", f"user:{secret.PASSWORD}")
    worker = bench.start(env={AMQP_URL_ENV: url})
    assert worker.exit_code() == 2
    assert AMQP_URL_ENV in worker.termination.read_text()


def test_refused_and_lost_connections_are_told_without_it(bench: Bench) -> None:
    who = bench.broker.worker.replace(secret.CORE, f"{secret.CORE}wrong")
    split = urlsplit(bench.broker.amqp)
    refused = split._replace(netloc=f"{who}@{split.hostname}:{split.port}").geturl()
    bench.start(env={AMQP_URL_ENV: refused}).wait("connection-failed")
    with Relay(bench.broker.amqp) as relay:
        bench.amqp = relay.url
        worker = bench.started()
        relay.cut()
        worker.wait("consumer-lost")
        worker.wait("consumer-started", count=2)
