"""Exceptions that strike a caller of `Client.enqueue` anywhere: a soft limit, Ctrl-C."""

from __future__ import annotations

import itertools
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from longshore import Client
from longshore.errors import BrokerUnavailable
from tests.integration.client.conftest import QUEUE, Vhost

pytestmark = pytest.mark.integration

Connect = Callable[..., Client]


CONNECTING = ("client.py", "publisher.py", "desk.py")


class Struck(BaseException):
    """As `SoftTimeLimit` is: nobody catches it by accident."""


def test_a_strike_at_any_line_of_the_first_job_leaves_a_client_that_works(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    for line in itertools.count(1):
        client = connect(timeout=30)
        # The lines before are those of a later job too, which the next test goes through.
        struck = _struck_at(line, client, files=CONNECTING)
        client.enqueue(QUEUE, "render")
        client.close()
        if not struck:
            break
    assert line > 40, "the tracer saw next to nothing"


def test_a_strike_at_any_line_of_a_later_job_leaves_a_client_that_works(
    vhost: Vhost, connect: Connect
) -> None:
    vhost.declare()
    client = connect(timeout=30)
    client.enqueue(QUEUE, "render")
    for line in itertools.count(1):
        struck = _struck_at(line, client)
        client.enqueue(QUEUE, "render")
        if not struck:
            break
    assert line > 100, "the tracer saw next to nothing"


def test_a_signal_at_any_time_leaves_a_client_that_works(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client, chance = connect(timeout=30), random.Random(7)
    struck = 0
    for round_ in range(150):
        if round_ % 3 == 0:
            client.close()
        try:
            with _signal_after(chance.uniform(0.0001, 0.015)):
                for _ in range(30):
                    client.enqueue(QUEUE, "render")
        except Struck:
            struck += 1
        client.enqueue(QUEUE, "render")
    assert struck > 100


def test_who_is_struck_while_a_broker_hangs_does_not_keep_the_next_call_waiting(
    vhost: Vhost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    vhost.declare()
    resolve = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(timeout=20)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: _only(silent))
        with pytest.raises(Struck), _signal_after(0.2):
            client.enqueue(QUEUE, "render")
        monkeypatch.setattr(socket, "getaddrinfo", resolve)

        begun = time.monotonic()
        client.enqueue(QUEUE, "render")

    assert time.monotonic() - begun < 2


def test_who_is_struck_while_a_broker_hangs_gets_errors_as_before(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(f"amqp://u:p@127.0.0.1:{silent.getsockname()[1]}/", timeout=1)
        with pytest.raises(Struck), _signal_after(0.2):
            client.enqueue(QUEUE, "render")
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match=r"AMQP handshake with .* in time"):
                client.enqueue(QUEUE, "render")


def test_a_signal_handler_may_enqueue_while_its_thread_does(vhost: Vhost, connect: Connect) -> None:
    vhost.declare()
    client = connect(timeout=30)
    within: list[str] = []
    with _signal_after(0.005, lambda: within.append(client.enqueue(QUEUE, "render"))):
        while not within:
            client.enqueue(QUEUE, "render")
    assert within[0] in {each[0].message_id for each in iter(vhost.get, None)}


def _struck_at(line: int, client: Client, *, files: Collection[str] = ()) -> bool:
    """Enqueue, and raise at the `line`th line that this thread runs; False past the last one.

    With `files`, only their lines count.
    """
    seen = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal seen
        seen += event == "line" and (not files or Path(frame.f_code.co_filename).name in files)
        if seen == line:
            raise Struck
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        client.enqueue(QUEUE, "render", scene="ship", headers={"tenant": "a"})
    except Struck:
        return True
    finally:
        sys.settrace(before)
    return False


@contextmanager
def _signal_after(seconds: float, act: Callable[[], object] | None = None) -> Iterator[None]:
    def strike(*_: object) -> None:
        if act is None:
            raise Struck
        act()

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _only(server: socket.socket) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", server.getsockname())]
