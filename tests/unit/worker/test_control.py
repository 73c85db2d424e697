from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from longshore.worker.limits import HandlerLimits
from longshore.worker.wire.control import (
    Fork,
    Forked,
    ImportFailed,
    Ready,
    receive_control,
    send_control,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


@pytest.mark.parametrize(
    "message",
    [
        Ready(
            handlers={
                "a": HandlerLimits(max_attempts=1, hard_limit=2.5),
                "b": HandlerLimits(max_attempts=3, hard_limit=9, soft_limit=7, max_age=3600.0),
            },
            threads=2,
        ),
        ImportFailed(what="handlers from m", error="e" * 2048, traceback="t" * 8192),
        Fork(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_control_messages_arrive(pair: Pair, message: Ready | ImportFailed | Fork) -> None:
    send_control(pair[0], message)
    assert receive_control(pair[1]) == (message, [])


def test_thousands_of_handlers_with_long_names_arrive(pair: Pair) -> None:
    limits = HandlerLimits(max_attempts=1, hard_limit=2.5)
    ready = Ready(handlers={f"{'n' * 240}.{number}": limits for number in range(5000)})
    open_before = len(os.listdir("/proc/self/fd"))
    send_control(pair[0], ready)
    assert receive_control(pair[1]) == (ready, [])
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_control_messages_carry_descriptors(pair: Pair) -> None:
    reading, writing = os.pipe()
    send_control(pair[0], Forked(pid=42), passed=[reading, writing])
    received = receive_control(pair[1])
    assert received is not None
    message, descriptors = received
    assert message == Forked(pid=42)
    assert len(descriptors) == 2
    os.write(descriptors[1], b"x")
    assert os.read(reading, 1) == b"x"
    for descriptor in (reading, writing, *descriptors):
        os.close(descriptor)


def test_a_gone_peer_is_an_end_and_no_error(pair: Pair) -> None:
    pair[0].close()
    assert receive_control(pair[1]) is None


def test_received_descriptors_do_not_leak_into_programs_that_a_job_starts(pair: Pair) -> None:
    with open(os.devnull) as null:
        send_control(pair[0], Forked(pid=1), passed=[null.fileno()])
    received = receive_control(pair[1])
    assert received is not None
    (descriptor,) = received[1]
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
