"""Client against a real RabbitMQ, 4.0 and 4.3."""

from __future__ import annotations

import json
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from longshore import (
    BrokerUnavailable,
    Client,
    ConfirmTimeout,
    InvalidJob,
    Job,
    NotPermitted,
    QueueFull,
    QueueNotFound,
    handler,
)
from longshore.contract import message
from tests.integration.client.conftest import QUEUE, Vhost
from tests.integration.relay import Relay

pytestmark = pytest.mark.integration

Connect = Callable[..., Client]


@handler
def render(job: Job, scene: str, width: int = 100) -> None:
    """Never run here."""


def test_a_job_arrives_as_the_wire_format_says(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()

    job_id = connect().enqueue(
        QUEUE, render, scene="ship", width=7, priority=3, expires_in="1h", headers={"tenant": "a"}
    )

    got = vhost.get()
    assert got is not None
    properties, body = got
    decoded = message.decode(properties, body, new_id=lambda: "none", now=lambda: 0)
    assert json.loads(body) == {"scene": "ship", "width": 7}
    assert (decoded.id, decoded.handler, decoded.attempt) == (job_id, "render", 1)
    assert (decoded.priority, decoded.headers) == (3, {"tenant": "a"})
    assert decoded.expires_at == decoded.enqueued_at + 3_600_000
    assert abs(decoded.enqueued_at / 1000 - time.time()) < 60
    assert properties.delivery_mode == 2


def test_a_job_for_no_queue_is_refused(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect()

    with pytest.raises(QueueNotFound, match=r"'demo\.other'.*TaskQueue"):
        client.enqueue("demo.other", "render")

    client.enqueue(QUEUE, "render")
    assert vhost.get()


def test_a_vhost_without_longshore_is_told_from_a_broken_connection(connect: Connect) -> None:
    with pytest.raises(QueueNotFound, match=r"longshore\.jobs"):
        connect().enqueue(QUEUE, "render")


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare(**{"x-max-length": 1, "x-overflow": "reject-publish"})
    client = connect()
    # The queue's leader tells of its fullness a moment after it is full.
    refusal = _wait_for(lambda: _refusal(client), timeout=10)
    assert "try again later" in refusal

    while vhost.get():
        pass

    _wait_for(lambda: _refusal(client) is None, timeout=10)


def test_a_job_that_is_too_large_is_invalid(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect()

    with pytest.raises(InvalidJob, match="larger than configured max size"):
        client.enqueue(QUEUE, "render", scene="x" * 17_000_000)

    client.enqueue(QUEUE, "render", scene="x")
    assert vhost.get()


def test_a_job_of_several_megabytes_arrives_whole(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()

    connect().enqueue(QUEUE, "render", scene="x" * 8_000_000)

    got = vhost.get()
    assert got is not None
    assert len(json.loads(got[1])["scene"]) == 8_000_000


def test_credentials_without_the_right_are_refused(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    user = vhost.name
    vhost.management.put(
        f"/api/users/{user}", json={"password": "p", "tags": ""}
    ).raise_for_status()
    try:
        vhost.management.put(
            f"/api/permissions/{vhost.name}/{user}",
            json={"configure": "^$", "write": "^$", "read": "^$"},
        ).raise_for_status()
        with pytest.raises(NotPermitted, match="access"):
            connect(_with(vhost.amqp, user=f"{user}:p")).enqueue(QUEUE, "render")
    finally:
        vhost.management.delete(f"/api/users/{user}").raise_for_status()


def test_wrong_credentials_are_named_and_not_shown(vhost: Vhost, connect: Connect) -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        connect(_with(vhost.amqp, user="guest:secret-word")).enqueue(QUEUE, "render")

    assert "ACCESS_REFUSED" in str(caught.value)
    assert "secret-word" not in str(caught.value)


def test_an_idle_connection_that_the_broker_closed_is_replaced(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    client = connect()
    client.enqueue(QUEUE, "render")

    vhost.close_connections()
    client.enqueue(QUEUE, "render")

    assert vhost.get()
    assert vhost.get()
    assert vhost.get() is None


def test_a_producer_idle_beyond_its_heartbeats_goes_on(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect(f"{vhost.amqp}?heartbeat=1")
    client.enqueue(QUEUE, "render")

    _wait_for(lambda: not vhost.connections(), timeout=30)
    client.enqueue(QUEUE, "render")

    assert vhost.get()
    assert vhost.get()


def test_a_connection_that_breaks_between_job_and_confirm_is_replaced(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    with Relay(vhost.amqp) as relay:
        client = connect(relay.url)
        first = client.enqueue(QUEUE, "render")
        relay.break_at_next_byte()
        second = client.enqueue(QUEUE, "render")

    got = [vhost.get(), vhost.get()]
    assert [each[0].message_id for each in got if each] == [first, second]


def test_a_broker_that_is_down_is_unavailable_at_once(connect: Connect) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started = time.monotonic()

    with pytest.raises(BrokerUnavailable, match=f"127.0.0.1:{port}: .*refused"):
        connect(f"amqp://u:p@127.0.0.1:{port}/").enqueue(QUEUE, "render")

    assert time.monotonic() - started < 5


def test_a_broker_that_accepts_and_never_speaks_ends_at_the_deadline(connect: Connect) -> None:
    with _silent_listener() as port:
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match="did not answer in time"):
            connect(f"amqp://u:p@127.0.0.1:{port}/", timeout=1).enqueue(QUEUE, "render")

    assert 0.9 < time.monotonic() - started < 4


def test_a_broker_that_hangs_before_the_confirm_ends_at_the_deadline(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    with Relay(vhost.amqp) as relay:
        client = connect(relay.url, timeout=2)
        client.enqueue(QUEUE, "render")
        relay.stop_answers()

        with pytest.raises(ConfirmTimeout, match="may or may not be stored"):
            client.enqueue(QUEUE, "render")


def test_a_blocked_broker_is_named_and_the_client_recovers(own_vhost: Vhost) -> None:
    own_vhost.declare()
    with Client(own_vhost.amqp, timeout=2) as client:
        client.enqueue(QUEUE, "render")
        own_vhost.run_ctl("set_vm_memory_high_watermark", "0.0000001")
        try:
            _wait_for(lambda: _is_blocked(own_vhost), timeout=20)
            with pytest.raises((ConfirmTimeout, BrokerUnavailable), match="low on memory"):
                client.enqueue(QUEUE, "render")
        finally:
            own_vhost.run_ctl("set_vm_memory_high_watermark", "0.6")
        _wait_for(lambda: not _is_blocked(own_vhost), timeout=20)

        client.enqueue(QUEUE, "render")


def test_a_delayed_job_comes_through_the_ladder_and_not_early(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    vhost.declare_ladder()
    started = time.monotonic()

    job_id = connect().enqueue(QUEUE, "render", delay=3)

    assert vhost.get() is None
    got = _wait_for(vhost.get, timeout=20)
    assert time.monotonic() - started >= 3
    assert got[0].message_id == job_id


def test_threads_share_a_client(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect()
    ids: list[str] = []

    def produce() -> None:
        for _ in range(25):
            ids.append(client.enqueue(QUEUE, "render"))  # noqa: PERF401  one by one is the test

    threads = [threading.Thread(target=produce) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    stored = {each[0].message_id for each in iter(vhost.get, None)}
    assert len(stored) == 100
    assert stored == set(ids)


def test_a_forked_process_makes_its_own_connection(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect()
    client.enqueue(QUEUE, "render")

    child = multiprocessing.get_context("fork").Process(
        target=lambda: client.enqueue(QUEUE, "render")
    )
    child.start()
    child.join(timeout=30)

    assert child.exitcode == 0
    client.enqueue(QUEUE, "render")
    assert len(list(iter(vhost.get, None))) == 3


def test_a_closed_client_opens_again_for_the_next_job(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect()
    client.enqueue(QUEUE, "render")
    client.close()
    client.enqueue(QUEUE, "render")

    assert vhost.get()
    assert vhost.get()


@contextmanager
def _silent_listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _with(amqp: str, *, user: str) -> str:
    split = urlsplit(amqp)
    return urlunsplit(split._replace(netloc=f"{user}@{split.hostname}:{split.port}"))


def _is_blocked(vhost: Vhost) -> bool:
    return vhost.management.get("/api/health/checks/alarms").status_code == 503


def _wait_for(found: Callable[[], Any], *, timeout: float) -> Any:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout} s")


def _refusal(client: Client) -> str | None:
    try:
        client.enqueue(QUEUE, "render")
    except QueueFull as error:
        return str(error)
    return None
