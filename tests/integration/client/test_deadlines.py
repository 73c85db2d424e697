"""A call's time, divided among the addresses behind a name, and told when it is over."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from longshore import Client
from longshore.amqp.address import parameters
from longshore.amqp.link import BlockingLink
from longshore.errors import BrokerUnavailable
from tests.integration.client.conftest import QUEUE, Vhost
from tests.integration.relay import Relay, unanswered

pytestmark = pytest.mark.integration

Connect = Callable[..., Client]


def test_an_address_that_says_nothing_leaves_time_for_the_next(
    vhost: Vhost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    vhost.declare()
    with ExitStack() as stack:
        relay = stack.enter_context(Relay(vhost.amqp))
        _resolve_to(
            monkeypatch,
            stack.enter_context(unanswered()),
            _silent(stack),
            int(relay.url.rpartition(":")[2].partition("/")[0]),
        )
        client = connect(vhost.amqp.replace("127.0.0.1", "rabbit"), timeout=3)
        begun = time.monotonic()
        client.enqueue(QUEUE, "render")
        assert 1 < time.monotonic() - begun < 3

        # The address that answered last comes first.
        relay.cut()
        begun = time.monotonic()
        client.enqueue(QUEUE, "render")
        assert time.monotonic() - begun < 0.9


def test_the_error_tells_how_far_each_address_got(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        full, silent = stack.enter_context(unanswered()), _silent(stack)
        with socket.create_server(("127.0.0.1", 0)) as closed:
            refusing = closed.getsockname()[1]
        _resolve_to(monkeypatch, full, silent, refusing)
        begun = time.monotonic()
        with pytest.raises(BrokerUnavailable) as caught:
            connect("amqp://u:p@rabbit:5672/", timeout=1).enqueue(QUEUE, "render")

    assert time.monotonic() - begun < 1.4
    told = str(caught.value)
    assert "cannot connect to RabbitMQ at rabbit:5672" in told
    assert f"connecting to 127.0.0.1:{full}: it did not answer in time" in told
    assert f"AMQP handshake with 127.0.0.1:{silent}: it did not answer in time" in told
    assert f"connecting to 127.0.0.1:{refusing}: [Errno 111] Connection refused" in told
    assert "nothing was stored" in told


def test_a_broker_that_hangs_in_tls_is_told_as_such(connect: Connect) -> None:
    with ExitStack() as stack:
        port = _silent(stack)
        # The call itself may be the first to see that the time is over; it says the stage as well.
        with pytest.raises(BrokerUnavailable, match=rf"TLS handshake with 127.0.0.1:{port}[:;]"):
            connect(f"amqps://u:p@127.0.0.1:{port}/", timeout=0.5).enqueue(QUEUE, "render")


class Waiting:
    """Somebody who waits for what a link does."""

    stage = ""
    deadline = float("inf")
    is_abandoned = False

    def begin(self) -> None:
        raise AssertionError("nothing was to be published")


@pytest.mark.parametrize(
    ("scheme", "stage"), [("amqp", "AMQP handshake with"), ("amqps", "TLS handshake with")]
)
def test_who_waits_sees_how_far_the_attempt_has_got(scheme: str, stage: str) -> None:
    with ExitStack() as stack:
        port = _silent(stack)
        found = parameters(f"{scheme}://u:p@127.0.0.1:{port}/", authority=None)
        record = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        caller = Waiting()
        with pytest.raises(BrokerUnavailable, match=f"{stage} 127.0.0.1:{port}: it did not"):
            BlockingLink(found, record).open(caller, until=time.monotonic() + 0.3)
        assert caller.stage == f"{stage} 127.0.0.1:{port}"


def test_a_failure_is_told_once(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """It is raised; pika's lines about it would tell it several times more."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(BrokerUnavailable, match="Connection refused"):
        connect(f"amqp://u:p@127.0.0.1:{port}/", timeout=1).enqueue(QUEUE, "render")
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_a_resolver_that_hangs_costs_no_call_more_than_its_time(
    vhost: Vhost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    vhost.declare()
    answer, resolve = threading.Event(), socket.getaddrinfo

    def slow(*arguments: Any, **options: Any) -> Any:
        answer.wait()
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    client = connect(timeout=0.5)
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=r"resolving '127\.0\.0\.1'; nothing was stored"):
        client.enqueue(QUEUE, "render")
    assert time.monotonic() - begun < 1.5
    answer.set()
    client.enqueue(QUEUE, "render")


def test_a_name_that_nobody_knows_is_told(connect: Connect) -> None:
    with pytest.raises(BrokerUnavailable, match=r"resolving 'no-such-host\.invalid'"):
        connect("amqp://no-such-host.invalid/").enqueue(QUEUE, "render")


def test_bytes_that_are_no_amqp_are_an_error_of_the_connection(connect: Connect) -> None:
    def talk(server: socket.socket) -> None:
        end, _ = server.accept()
        end.sendall(b"\x01\x00\x00\x00\x00\x00\x04\xff\xff\xff\xffnonsense" * 100)
        end.recv(1000)
        end.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=talk, args=(server,))
        thread.start()
        with pytest.raises(BrokerUnavailable, match="AMQP handshake with"):
            connect(f"amqp://u:p@127.0.0.1:{server.getsockname()[1]}/").enqueue(QUEUE, "render")
        thread.join()


def _silent(stack: ExitStack) -> int:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return int(server.getsockname()[1])


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """The name `rabbit` has these addresses, in this order."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))
        for port in ports
    ]
    resolve = socket.getaddrinfo

    def answer(host: str, *arguments: Any, **options: Any) -> Any:
        return found if host == "rabbit" else resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
