from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from longshore.errors import DeliveryLost, Draining, SoftTimeLimit
from longshore.worker.child.interrupt import Interrupts
from longshore.worker.wire.frames import Cause, Mark


@pytest.fixture
def mark() -> Iterator[Mark]:
    descriptor = os.memfd_create("mark")
    os.ftruncate(descriptor, Mark.SIZE)
    mark = Mark(descriptor)
    os.close(descriptor)
    yield mark
    mark.close()


@pytest.fixture
def interrupts(mark: Mark) -> Iterator[Interrupts]:
    before = signal.getsignal(signal.SIGALRM)
    interrupts = Interrupts(mark)
    signal.signal(signal.SIGALRM, interrupts.on_signal)
    yield interrupts
    signal.signal(signal.SIGALRM, before)


def order(mark: Mark, ticket: int, cause: Cause) -> None:
    mark.order(ticket, cause)
    os.kill(os.getpid(), signal.SIGALRM)


def test_an_order_for_the_running_job_is_raised_in_it(mark: Mark, interrupts: Interrupts) -> None:
    mark.running = 1
    with pytest.raises(SoftTimeLimit), interrupts.user_code():
        order(mark, 1, Cause.SOFT_LIMIT)


def test_an_order_for_another_job_is_not(mark: Mark, interrupts: Interrupts) -> None:
    mark.running = 2
    with interrupts.user_code():
        order(mark, 1, Cause.SOFT_LIMIT)


def test_outside_of_user_code_nothing_is_raised(mark: Mark, interrupts: Interrupts) -> None:
    mark.running = 1
    with interrupts.user_code():
        pass
    order(mark, 1, Cause.SOFT_LIMIT)


def test_an_order_that_came_too_early_is_raised_at_the_start(
    mark: Mark, interrupts: Interrupts
) -> None:
    mark.running = 1
    order(mark, 1, Cause.DELIVERY_LOST)
    with pytest.raises(DeliveryLost), interrupts.user_code():
        pytest.fail("must not get here")


def test_a_caught_order_is_not_raised_again_but_another_cause_is(
    mark: Mark, interrupts: Interrupts
) -> None:
    mark.running = 1
    caught = []
    with pytest.raises(DeliveryLost), interrupts.user_code():  # noqa: PT012 - that is the point
        try:
            order(mark, 1, Cause.SOFT_LIMIT)
        except SoftTimeLimit:
            caught.append("soft")
        os.kill(os.getpid(), signal.SIGALRM)
        order(mark, 1, Cause.DELIVERY_LOST)
    assert caught == ["soft"]


@pytest.fixture
def watching(interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    called = asyncio.BaseEventLoop.call_exception_handler
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_exception_handler", called)
    interrupts.watch()


class Closing:
    def __init__(self, mark: Mark) -> None:
        self._mark = mark

    def __del__(self) -> None:
        order(self._mark, 1, Cause.SOFT_LIMIT)


@pytest.mark.usefixtures("watching")
def test_what_a_destructor_swallows_comes_again_with_the_next_signal(
    mark: Mark, interrupts: Interrupts
) -> None:
    mark.running = 1
    steps = []
    with pytest.raises(SoftTimeLimit), interrupts.user_code():  # noqa: PT012 - that is the point
        closing = Closing(mark)
        del closing
        steps.append("went on")
        order(mark, 1, Cause.SOFT_LIMIT)
        steps.append("never here")
    assert steps == ["went on"]


@pytest.mark.usefixtures("watching")
def test_what_a_callback_of_a_loop_swallows_comes_again_with_the_next_signal(
    mark: Mark, interrupts: Interrupts
) -> None:
    mark.running = 1

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        loop.call_soon(order, mark, 1, Cause.SOFT_LIMIT)
        await asyncio.sleep(0)
        order(mark, 1, Cause.SOFT_LIMIT)

    with pytest.raises(SoftTimeLimit), interrupts.user_code():
        asyncio.run(main())


@pytest.mark.usefixtures("watching")
def test_what_a_handler_has_caught_does_not_come_again(mark: Mark, interrupts: Interrupts) -> None:
    mark.running = 1
    with interrupts.user_code():
        with pytest.raises(SoftTimeLimit):
            order(mark, 1, Cause.SOFT_LIMIT)
        order(mark, 1, Cause.SOFT_LIMIT)


def test_a_drain_comes_too_late_for_a_handler_that_has_ended(
    mark: Mark, interrupts: Interrupts
) -> None:
    mark.running = 1
    with interrupts.user_code():
        interrupts.handler_has_ended()
        order(mark, 1, Cause.DRAINING)
    mark.running = 2
    with pytest.raises(Draining), interrupts.user_code():
        order(mark, 2, Cause.DRAINING)


@pytest.mark.parametrize(
    ("cause", "error"),
    [(Cause.SOFT_LIMIT, SoftTimeLimit), (Cause.DELIVERY_LOST, DeliveryLost)],
)
def test_middleware_goes_on_being_interrupted_for_other_causes(
    mark: Mark, interrupts: Interrupts, cause: Cause, error: type[BaseException]
) -> None:
    mark.running = 1
    with pytest.raises(error), interrupts.user_code():  # noqa: PT012 - that is the point
        interrupts.handler_has_ended()
        order(mark, 1, cause)
