from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from longshore.errors import DeliveryLost, Draining, SoftTimeLimit
from longshore.worker.child.interrupt import Interrupts
from longshore.worker.frames import Cause, Mark


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
    interrupts.install()
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


def test_what_is_held_back_comes_afterwards(mark: Mark, interrupts: Interrupts) -> None:
    mark.running = 1
    steps = []
    with pytest.raises(SoftTimeLimit), interrupts.user_code():  # noqa: PT012 - that is the point
        with interrupts.held_back():
            order(mark, 1, Cause.SOFT_LIMIT)
            steps.append("sent whole")
        steps.append("never")
    assert steps == ["sent whole"]


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
