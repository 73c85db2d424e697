"""The parent's end of a zygote that a test plays."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from longshore.worker.limits import HandlerLimits
from longshore.worker.parent.children.zygote import ANSWER_TIMEOUT, Birth, Zygote
from longshore.worker.wire.control import (
    Control,
    Fork,
    Forked,
    ForkFailed,
    Ready,
    Reap,
    Reaped,
    receive_control,
    send_control,
)
from longshore.worker.wire.frames import Mark

pytestmark = pytest.mark.virtual_time

ZYGOTE, CHILD = 2**22 + 1, 2**22 + 2
"""Process ids that no process has."""


class Asker:
    def __init__(self) -> None:
        self.births: list[Birth] = []
        self.failures: list[str] = []

    def on_birth(self, birth: Birth) -> None:
        self.births.append(birth)

    def on_fork_failed(self, error: str) -> None:
        self.failures.append(error)


class Stage:
    def __init__(self) -> None:
        near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.zygote = Zygote(near, ZYGOTE)

    def asked(self) -> Control:
        received = receive_control(self.far)
        assert received
        return received[0]

    async def tell(self, message: Control, *, passed: list[int] | None = None) -> None:
        send_control(self.far, message, passed=passed or [])
        for descriptor in passed or []:
            os.close(descriptor)
        for _ in range(3):
            await asyncio.sleep(0)

    async def bear(self) -> None:
        """Make a child whose process is this one."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        results, results_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, output_far = os.pipe()
        ends = [near.detach(), far.detach(), results.detach(), output, Mark.create()]
        results_far.close()
        os.close(output_far)
        await self.tell(Forked(pid=CHILD), passed=[*ends, os.pidfd_open(os.getpid())])


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.zygote.close()
    stage.far.close()


def close(birth: Birth) -> None:
    for end in (birth.near, birth.far, birth.results):
        end.close()
    os.close(birth.output)
    os.close(birth.pidfd)
    birth.mark.close()


async def test_the_handlers_are_known_once_it_is_ready(stage: Stage) -> None:
    limits = HandlerLimits(max_attempts=3, hard_limit=1.0)
    assert stage.zygote.handlers == {}
    await stage.tell(Ready(handlers={"work": limits}))
    assert stage.zygote.handlers == {"work": limits}
    assert isinstance(await stage.zygote.ready(), Ready)


async def test_births_and_failures_are_told_to_those_who_asked_in_their_order(
    stage: Stage,
) -> None:
    first, second = Asker(), Asker()
    for asker in (first, second):
        stage.zygote.fork(asker)
        assert stage.asked() == Fork()
    await stage.tell(ForkFailed(error="no memory"))
    await stage.bear()
    (birth,) = second.births
    assert birth.pid == CHILD
    assert (first.failures, first.births, second.failures) == (["no memory"], [], [])
    close(birth)


async def test_a_child_that_nobody_has_asked_for_is_what_no_zygote_sends(stage: Stage) -> None:
    await stage.tell(ForkFailed(error="no memory"))
    assert stage.zygote.gone.done()
    assert "unexpected message" in stage.zygote.fault


async def test_it_tells_how_a_child_has_ended(stage: Stage) -> None:
    asker = Asker()
    stage.zygote.fork(asker)
    await stage.bear()
    reaping = asyncio.ensure_future(stage.zygote.reap(CHILD))
    await asyncio.sleep(0)
    assert [stage.asked(), stage.asked()] == [Fork(), Reap(pid=CHILD)]
    await stage.tell(Reaped(pid=CHILD, status=9))
    assert await reaping == 9
    close(asker.births[0])


async def test_what_the_parent_has_reaped_counts_when_the_zygote_is_gone(stage: Stage) -> None:
    asker = Asker()
    stage.zygote.fork(asker)
    await stage.bear()
    stage.zygote.on_exit(ZYGOTE, 9)
    assert stage.zygote.fault == "was killed by SIGKILL"
    stage.zygote.on_exit(CHILD, 15)
    assert await stage.zygote.reap(CHILD) == 15
    close(asker.births[0])


async def test_nobody_knows_how_a_child_has_ended_whose_zygote_is_gone(stage: Stage) -> None:
    asker = Asker()
    stage.zygote.fork(asker)
    await stage.bear()
    stage.zygote.on_exit(ZYGOTE, 9)
    assert await stage.zygote.reap(CHILD) is None
    stage.zygote.fork(asker)
    assert len(asker.births) == 1
    close(asker.births[0])


async def test_a_zygote_that_does_not_answer_is_gone_and_one_without_requests_is_not(
    stage: Stage,
) -> None:
    await asyncio.sleep(2 * ANSWER_TIMEOUT)
    assert not stage.zygote.gone.done()
    stage.zygote.fork(Asker())
    await asyncio.sleep(0.9 * ANSWER_TIMEOUT)
    assert not stage.zygote.gone.done()
    await asyncio.sleep(0.2 * ANSWER_TIMEOUT)
    assert stage.zygote.gone.done()
    assert "has not answered" in stage.zygote.fault
