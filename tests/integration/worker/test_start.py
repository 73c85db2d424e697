"""What keeps a worker from starting, and where it says so."""

from __future__ import annotations

import json

import pytest

from longshore.contract.names import AMQP_URL_ENV, WORKER_CONFIG_ENV
from longshore.contract.readiness import trouble_in
from tests.integration.worker.workers import Bench, wait_for

pytestmark = pytest.mark.integration


def test_an_import_error_ends_the_worker_and_stands_in_the_termination_message(
    bench: Bench,
) -> None:
    (bench.directory / "broken.py").write_text("import no_such_library\n")
    worker = bench.start(handlers=["jobs", "broken"])
    assert worker.exit_code() == 3
    message = worker.termination.read_text()
    first = message.splitlines()[0]
    assert first == (
        "cannot import handlers from broken: ModuleNotFoundError: No module named 'no_such_library'"
    )
    assert 'broken.py", line 1' in message
    assert len(message.encode()) <= 4096


def test_a_module_that_exits_at_import_is_an_import_error_too(bench: Bench) -> None:
    (bench.directory / "broken.py").write_text("import os; os._exit(9)\n")
    worker = bench.start(handlers=["broken"])
    assert worker.exit_code() == 3
    assert "broken" in worker.termination.read_text()


def test_two_handlers_of_one_name_are_refused_with_both_places(bench: Bench) -> None:
    for name in ("one", "two"):
        (bench.directory / f"{name}.py").write_text(
            "from longshore import handler\n\n@handler\ndef render(): ...\n"
        )
    worker = bench.start(handlers=["one", "two"])
    assert worker.exit_code() == 3
    message = worker.termination.read_text()
    assert "two handlers are named 'render'" in message
    assert "one.py:3" in message
    assert "two.py:3" in message


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({WORKER_CONFIG_ENV: ""}, f"{WORKER_CONFIG_ENV} is not set"),
        ({WORKER_CONFIG_ENV: "{"}, "invalid JSON"),
        (
            {
                WORKER_CONFIG_ENV: json.dumps(
                    {
                        "queue": "a.b",
                        "handlers": ["jobs"],
                        "hard_limit": "soon",
                        "ack_timeout": "1h",
                    }
                )
            },
            "hard_limit is 'soon'",
        ),
        ({AMQP_URL_ENV: "http://user:secret@host"}, f"{AMQP_URL_ENV} must begin with amqp://"),
        ({AMQP_URL_ENV: "amqp://user:secret@host:port/"}, f"{AMQP_URL_ENV} is no AMQP address"),
    ],
    ids=["missing", "no-json", "duration", "scheme", "port"],
)
def test_a_bad_configuration_ends_the_worker_with_one_clear_line(
    bench: Bench, environment: dict[str, str], complaint: str
) -> None:
    worker = bench.start(env=environment)
    assert worker.exit_code() == 2
    message = worker.termination.read_text()
    assert complaint in message
    assert "\n" not in message.strip()
    assert "secret" not in message + worker.text()


def test_refused_credentials_are_told_and_tried_again(bench: Bench) -> None:
    url = bench.broker.amqp.replace("guest:guest", "guest:wrong")
    worker = bench.start(env={AMQP_URL_ENV: url})
    worker.wait("connect-failed", count=3)
    assert "refused" in worker.termination.read_text()
    assert "wrong" not in worker.text()
    status, body = worker.get("/readyz")
    assert status == 503
    assert "refused" in trouble_in(body.encode()), "whoever asks hears why"
    assert worker.get("/healthz")[0] == 200
    assert worker.stop() == 0


def test_a_worker_that_rabbitmq_has_no_room_for_says_so_until_it_has(bench: Bench) -> None:
    vhost, ctl = ("-p", bench.broker.vhost), bench.broker.rabbitmqctl
    ctl("set_vhost_limits", *vhost, '{"max-connections": 0}')
    try:
        worker = bench.start()
        worker.wait("connect-failed")
        said = wait_for(lambda: trouble_in(worker.get("/readyz")[1].encode()))
    finally:
        ctl("clear_vhost_limits", *vhost)
    assert "limit" in said
    worker.wait("consuming")
    assert worker.get("/readyz") == (200, "consuming\n")
    assert worker.stop() == 0
