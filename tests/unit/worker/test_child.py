"""A child without a process: its sockets, its mark and what is taken back."""

from __future__ import annotations

import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longshore.contract.message import Message
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.states import TRANSITIONS, ChildState, Kill
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


def work(ticket: int, body: bytes = b"{}", *, soft_limit: float = math.inf) -> Work:
    delivery: Any = None
    return Work(
        ticket=ticket,
        delivery=delivery,
        message=Message(id=f"j-{ticket}", handler="h", body=body, enqueued_at=0),
        max_attempts=3,
        hard_limit=1.0,
        soft_limit=soft_limit,
    )


class Puppet:
    """A child that a test plays, and the parent's side of it."""

    def __init__(self, *, max_jobs: int = 0) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        results, self.results = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, self.output = os.pipe()
        mark = Mark.create()
        self.mark = Mark(mark)
        results.setblocking(False)
        os.set_blocking(output, False)
        self.child = Child(
            Birth(
                pid=os.getpid(),
                pidfd=os.pidfd_open(os.getpid()),
                near=near,
                far=self.far.dup(),
                results=results,
                output=output,
                mark=Mark(mark),
            ),
            max_jobs=max_jobs,
            put_line=lambda _: None,
            on_order=lambda _child, _run: None,
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
        self.child.die()
        self.child.bury()
        self.far.close()
        self.results.close()
        self.mark.close()
        os.close(self.output)


@pytest.fixture
def puppet() -> Iterator[Puppet]:
    before = len(os.listdir("/proc/self/fd"))
    puppet = Puppet()
    yield puppet
    puppet.close()
    assert len(os.listdir("/proc/self/fd")) == before


REACHED_BY: dict[ChildState, Callable[[Child], object]] = {
    ChildState.SERVING: lambda child: None,
    ChildState.RETIRING: Child.retire,
    ChildState.DISMISSED: Child.dismiss,
    ChildState.BROKEN: lambda child: child.find_fault("nonsense"),
    ChildState.DYING: lambda child: child.begin_kill(Kill.HARD_LIMIT, until=0.0),
    ChildState.DEAD: Child.die,
}
"""What brings a child into each state, but the last: that closes its descriptors."""


@pytest.mark.parametrize("event", REACHED_BY)
@pytest.mark.parametrize("state", REACHED_BY)
def test_an_event_changes_the_state_as_drawn_or_comes_too_late(
    puppet: Puppet, state: ChildState, event: ChildState
) -> None:
    REACHED_BY[state](puppet.child)
    assert puppet.child.state is state
    REACHED_BY[event](puppet.child)
    assert puppet.child.state is (event if event in TRANSITIONS[state] else state)


def test_the_documents_have_every_state_once() -> None:
    text = (Path(__file__).parents[3] / "docs/state_machine.md").read_text()
    section = text.partition("## The states of a child\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert rows[2:] == [state.name.lower() for state in ChildState]


def test_every_state_but_the_last_can_be_left_for_the_end() -> None:
    assert set(TRANSITIONS) == set(ChildState)
    assert {state for state in ChildState if ChildState.DEAD not in TRANSITIONS[state]} == {
        ChildState.DEAD,
        ChildState.BURIED,
    }
    assert TRANSITIONS[ChildState.DEAD] == {ChildState.BURIED}
    assert not TRANSITIONS[ChildState.BURIED]


@pytest.mark.parametrize("state", REACHED_BY)
def test_only_one_that_serves_takes_jobs(puppet: Puppet, state: ChildState) -> None:
    REACHED_BY[state](puppet.child)
    assert puppet.child.takes_jobs is (state is ChildState.SERVING)


def test_one_that_has_its_last_job_takes_another_when_that_is_taken_back() -> None:
    puppet = Puppet(max_jobs=1)
    child = puppet.child
    child.hand(work(1), now=0.0)
    assert (child.takes_jobs, child.is_done) == (False, False)
    child.take_back(now=0.0)
    assert (child.takes_jobs, child.is_done) == (True, False)
    child.hand(work(2), now=0.0)
    child.end_first(at=1.0)
    assert (child.takes_jobs, child.is_done) == (False, True)
    child.dismiss()
    assert not child.is_done
    puppet.close()


def test_the_first_kill_tells_why_and_the_last_how_long_the_tree_has(puppet: Puppet) -> None:
    child = puppet.child
    assert child.begin_kill(Kill.HARD_LIMIT, until=5.0)
    assert not child.begin_kill(Kill.MEMORY_LIMIT, until=0.0)
    assert (child.killed_for, child.killed_until) == (Kill.HARD_LIMIT, 0.0)


def test_a_job_whose_child_is_killed_as_the_worker_ends_is_not_charged_though_it_died_before(
    puppet: Puppet,
) -> None:
    child = puppet.child
    child.hand(work(1), now=0.0)
    puppet.mark.running = 1
    child.die()
    assert [each.ticket for each in child.charged()] == [1]
    child.begin_kill(Kill.DRAIN, until=0.0)
    assert child.charged() == []


def test_exactly_what_the_child_never_saw_is_taken_back(puppet: Puppet) -> None:
    works = [work(number, b"x" * size) for number, size in ((1, 10), (2, 200_000), (3, 10))]
    assert all(puppet.child.hand(each, now=0.0) for each in works)
    received = receive_job(puppet.far)
    assert received is not None
    puppet.mark.running = received.ticket
    assert puppet.child.take_back(now=0.0) == works[1:]
    assert list(puppet.child.jobs) == works[:1]
    assert puppet.child.has_begun()


def test_a_job_received_but_not_begun_is_not_charged(puppet: Puppet) -> None:
    first = work(1)
    puppet.child.hand(first, now=0.0)
    receive_job(puppet.far)
    assert puppet.child.take_back(now=0.0) == []
    assert not puppet.child.has_begun()


def test_records_are_read_without_waiting(puppet: Puppet) -> None:
    assert not puppet.child.read_records(now=1.0)
    ended = Ended(ticket=1, status=Status.SUCCEEDED, seconds=0.1)
    puppet.results.send(encode_record(ended))
    assert puppet.child.read_records(now=2.0)
    assert [*puppet.child.unsettled] == [(ended, 2.0)]


def test_what_is_due_first_is_due(puppet: Puppet) -> None:
    child = puppet.child
    assert child.due(0.02) == math.inf
    child.hand(work(1), now=100.0)
    assert child.due(0.02) == 101.0
    child.hand(work(2, soft_limit=0.01), now=100.3)
    assert child.due(0.02) == 100.02
    child.end_first(at=100.5)
    assert child.due(0.02) == 100.51
    child.hand(work(3), now=100.5)
    assert child.run
    child.run.soften()
    assert child.due(0.02) == 100.52
    assert child.due(60.0) == 101.5
    child.die()
    assert child.due(0.02) == math.inf


@pytest.fixture
def sent(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> list[signal.Signals]:
    sent: list[signal.Signals] = []
    monkeypatch.setattr(puppet.child, "signal", sent.append)
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
    puppet: Puppet, sent: list[signal.Signals], causes: tuple[Cause, ...], last: Cause
) -> None:
    first = work(1)
    puppet.child.hand(first, now=0.0)
    for cause in causes:
        puppet.child.interrupt(first, cause)
    assert puppet.mark.order_for(1) is last
    assert len(sent) == 1 + (causes[0] < last)


def test_a_job_behind_another_hears_when_its_turn_comes(
    puppet: Puppet, sent: list[signal.Signals]
) -> None:
    first, second, third = work(1), work(2), work(3)
    for each in (first, second, third):
        puppet.child.hand(each, now=0.0)
    puppet.child.interrupt(second, Cause.DELIVERY_LOST)
    assert not puppet.mark.is_lost(2)
    puppet.child.end_first(at=1.0)
    assert puppet.mark.is_lost(2)
    puppet.child.end_first(at=2.0)
    assert sent == [signal.SIGALRM]


def test_a_job_that_was_asked_to_end_and_taken_back_starts_elsewhere_unasked(
    puppet: Puppet, sent: list[signal.Signals]
) -> None:
    first, second = work(1), work(2)
    for each in (first, second):
        puppet.child.hand(each, now=0.0)
        puppet.child.interrupt(each, Cause.SOFT_LIMIT)
    assert puppet.child.take_back(now=1.0) == [first, second]
    sent.clear()
    for each in (first, second):
        puppet.child.hand(each, now=2.0)
    puppet.child.end_first(at=3.0)
    assert sent == []
