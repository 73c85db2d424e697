"""A slot without a process: its sockets, its mark and what is taken back."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.children.child import Slot
from longshore.worker.parent.children.zygote import Birth
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import (
    END,
    TOLD_IN_A_RECORD,
    Cause,
    Ended,
    Mark,
    Status,
    encode_record,
    receive_job,
)


def work(ticket: int, body: bytes = b"{}") -> Work:
    delivery: Any = None
    return Work(
        ticket=ticket,
        delivery=delivery,
        message=Message(id=f"j-{ticket}", handler="h", body=body, enqueued_at=0),
        max_attempts=3,
        hard_limit=1.0,
    )


class Child:
    def __init__(self) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        results, self.results = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, self.output = os.pipe()
        mark = Mark.create()
        self.mark = Mark(mark)
        results.setblocking(False)
        os.set_blocking(output, False)
        self.slot = Slot(
            Birth(
                pid=os.getpid(),
                pidfd=os.pidfd_open(os.getpid()),
                near=near,
                far=self.far.dup(),
                results=results,
                output=output,
                mark=Mark(mark),
            ),
            put_line=lambda _: None,
            on_order=lambda _slot, _work: None,
        )
        os.close(mark)

    def succeed(self, ticket: int, *, seconds: float = 0.1) -> None:
        """Begin and end a job, as most end."""
        self.mark.running = ticket
        os.write(self.output, self.mark.boundary + END.pack(ticket, seconds))

    def end(self, ticket: int) -> None:
        """Begin and end a job, and tell so in a record."""
        self.mark.running = ticket
        self.tell_of_a_record()
        ended = Ended(ticket=ticket, status=Status.SUCCEEDED, seconds=0.1)
        self.results.send(encode_record(ended))

    def tell_of_a_record(self) -> None:
        """End the running job's output. A record is to tell how it ended."""
        os.write(self.output, self.mark.boundary + TOLD_IN_A_RECORD)

    def close(self) -> None:
        self.slot.close()
        self.far.close()
        self.results.close()
        self.mark.close()
        os.close(self.output)


@pytest.fixture
def child() -> Iterator[Child]:
    before = len(os.listdir("/proc/self/fd"))
    child = Child()
    yield child
    child.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_exactly_what_the_child_never_saw_is_taken_back(child: Child) -> None:
    works = [work(number, b"x" * size) for number, size in ((1, 10), (2, 200_000), (3, 10))]
    assert all(child.slot.hand(each) for each in works)
    received = receive_job(child.far)
    assert received is not None
    child.mark.running = received.ticket
    assert child.slot.take_back() == works[1:]
    assert list(child.slot.busy) == works[:1]
    assert child.slot.has_begun()


def test_a_job_received_but_not_begun_is_not_charged(child: Child) -> None:
    first = work(1)
    child.slot.hand(first)
    receive_job(child.far)
    assert child.slot.take_back() == []
    assert not child.slot.has_begun()


def test_records_are_read_without_waiting(child: Child) -> None:
    assert not child.slot.read_records(now=1.0)
    ended = Ended(ticket=1, status=Status.SUCCEEDED, seconds=0.1)
    child.results.send(encode_record(ended))
    assert child.slot.read_records(now=2.0)
    assert [*child.slot.unsettled] == [(ended, 2.0)]


def test_what_is_due_first_is_due(child: Child) -> None:
    slot = child.slot
    assert slot.due(0.02) == math.inf
    slot.hand(work(1))
    slot.begin(100.0)
    assert slot.due(0.02) == 101.0
    slot.hand(work(2))
    assert slot.due(0.02) == 100.02
    slot.busy[0].soft_limit = 0.01
    assert slot.due(0.02) == 100.01
    slot.is_softened = True
    assert slot.due(0.02) == 100.02
    slot.is_dead = True
    assert slot.due(0.02) == math.inf


@pytest.fixture
def sent(child: Child, monkeypatch: pytest.MonkeyPatch) -> list[signal.Signals]:
    sent: list[signal.Signals] = []
    monkeypatch.setattr(child.slot, "signal", sent.append)
    return sent


@pytest.mark.parametrize(
    ("causes", "last"),
    [
        ((Cause.SOFT_LIMIT, Cause.DRAINING), Cause.DRAINING),
        ((Cause.DRAINING, Cause.SOFT_LIMIT), Cause.DRAINING),
        ((Cause.DRAINING, Cause.DELIVERY_LOST), Cause.DELIVERY_LOST),
        ((Cause.DELIVERY_LOST, Cause.SOFT_LIMIT, Cause.DRAINING), Cause.DELIVERY_LOST),
    ],
)
def test_only_a_graver_cause_follows_another(
    child: Child, sent: list[signal.Signals], causes: tuple[Cause, ...], last: Cause
) -> None:
    first = work(1)
    child.slot.hand(first)
    for cause in causes:
        child.slot.interrupt(first, cause)
    assert child.mark.order_for(1) is last
    assert len(sent) == 1 + (causes[0] < last)


def test_a_job_behind_another_hears_when_its_turn_comes(
    child: Child, sent: list[signal.Signals]
) -> None:
    first, second, third = work(1), work(2), work(3)
    for each in (first, second, third):
        child.slot.hand(each)
    child.slot.interrupt(second, Cause.DELIVERY_LOST)
    assert not child.mark.is_lost(2)
    child.slot.busy.popleft()
    child.slot.begin(1.0)
    assert child.mark.is_lost(2)
    child.slot.busy.popleft()
    child.slot.begin(2.0)
    assert sent == [signal.SIGALRM]
