from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from longshore.worker.wire.frames import (
    INLINE_LIMIT,
    Cause,
    JobFrame,
    Mark,
    receive_job,
    send_job,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        yield near, far


def job(ticket: int = 7, body: bytes = b"{}", **changes: object) -> JobFrame:
    values: dict[str, Any] = {
        "id": "j-1",
        "handler": "räder",
        "attempt": 2,
        "max_attempts": 5,
        "enqueued_at": 1_700_000_000_000,
        "hard_limit": 1.5,
        **changes,
    }
    return JobFrame(ticket=ticket, body=body, **values)


@pytest.mark.parametrize("size", [0, 1, INLINE_LIMIT, INLINE_LIMIT + 1, 16 * 1024 * 1024])
def test_a_job_of_any_size_arrives_whole(pair: Pair, size: int) -> None:
    near, far = pair
    sent = job(body=os.urandom(size), headers={"tenant": "a", "n": [1, None]}, traceparent="00-x")
    assert send_job(near, sent)
    received = receive_job(far)
    assert received is not None
    assert received.ticket == 7
    assert received.open() == sent


def test_headers_larger_than_a_message_arrive(pair: Pair) -> None:
    near, far = pair
    sent = job(headers={"long": "ä" * 100_000})
    assert send_job(near, sent)
    received = receive_job(far)
    assert received is not None
    assert received.open().headers == sent.headers


def test_a_full_socket_refuses_instead_of_blocking(pair: Pair) -> None:
    near, far = pair
    sent = 0
    while send_job(near, job(ticket=sent, body=b"x" * 10_000)):
        sent += 1
        assert sent < 10_000
    first = receive_job(far)
    assert first is not None
    assert first.ticket == 0
    assert send_job(near, job(ticket=sent, body=b"x" * 10_000))


def test_no_descriptor_leaks_with_large_bodies(pair: Pair) -> None:
    near, far = pair
    before = len(os.listdir("/proc/self/fd"))
    for drop in (False, True):
        send_job(near, job(body=b"x" * 1_000_000))
        received = receive_job(far)
        assert received is not None
        received.drop() if drop else received.open()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_end_of_jobs_is_told(pair: Pair) -> None:
    near, far = pair
    near.shutdown(socket.SHUT_WR)
    assert receive_job(far) is None


def test_a_mark_is_seen_by_both_sides() -> None:
    descriptor = Mark.create()
    parent, child = Mark(descriptor), Mark(descriptor)
    os.close(descriptor)
    assert parent.running == 0
    child.running = 2**63 + 1
    assert parent.running == 2**63 + 1
    parent.order(5, Cause.DELIVERY_LOST)
    assert child.order_for(5) is Cause.DELIVERY_LOST
    assert child.is_lost(5)
    assert child.order_for(6) is None
    parent.close()
    child.close()


def test_looking_for_jobs_to_take_back_does_not_make_the_childs_socket_nonblocking(
    pair: Pair,
) -> None:
    _, far = pair
    with pytest.raises(BlockingIOError):
        receive_job(far, flags=socket.MSG_DONTWAIT)
    assert os.get_blocking(far.fileno())
