"""Orders that overtake each other, and jobs that were there before the cordon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from longshore.contract.orders import CordonOrder, UncordonOrder
from longshore.worker.parent.intake.cordon import CordonGate

pytestmark = pytest.mark.virtual_time


class Source:
    """Takes as long to be cordoned as the test likes."""

    def __init__(self) -> None:
        self.prefetch = 2
        self.calls: list[str] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()

    async def cordon(self) -> None:
        self.calls.append("cordon")
        await self.may_finish.wait()

    async def uncordon(self, prefetch: int) -> None:
        self.calls.append(f"uncordon {prefetch}")
        self.prefetch = prefetch

    async def resume(self, prefetch: int) -> None:
        self.calls.append(f"resume {prefetch}")
        self.prefetch = prefetch


class Stage:
    def __init__(self) -> None:
        self.source = Source()
        self.held = 0
        self.told: list[str | None] = []
        self.cordon = CordonGate(on_change=lambda: self.told.append(self.cordon.in_force))
        self.running = asyncio.ensure_future(self.cordon.run(self.source, held=lambda: self.held))

    async def take(self, kind: str, id: str = "one", *, lease: float = 60.0) -> None:
        order = CordonOrder(id=id, lease=lease) if kind == CORDON else UncordonOrder(id=id)
        self.cordon.take(order)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


CORDON, UNCORDON = "cordon", "uncordon"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    stage.running.cancel()


async def test_it_says_that_no_job_can_come_only_when_none_can(stage: Stage) -> None:
    stage.source.may_finish.clear()
    await stage.take(CORDON)
    assert stage.cordon.in_force is None

    stage.source.may_finish.set()
    await stage.settle()
    assert stage.told == ["one"]


async def test_an_uncordon_that_comes_before_the_cordon_is_done_leaves_it_open(
    stage: Stage,
) -> None:
    stage.source.may_finish.clear()
    await stage.take(CORDON)
    await stage.take(UNCORDON)
    stage.source.may_finish.set()
    await stage.settle()

    assert stage.source.calls == ["cordon", "uncordon 2"]
    assert stage.told == [None]


async def test_it_claims_nothing_from_the_moment_of_an_uncordon(stage: Stage) -> None:
    await stage.take(CORDON)
    stage.cordon.take(UncordonOrder(id="one"))

    assert stage.cordon.in_force is None


async def test_another_cordon_takes_the_place_of_the_first_without_letting_jobs_in(
    stage: Stage,
) -> None:
    await stage.take(CORDON)
    await stage.take(CORDON, "two")

    assert stage.told == ["one", "two"]
    assert stage.source.calls == ["cordon"]


async def test_a_lease_that_is_renewed_does_not_end(stage: Stage) -> None:
    await stage.take(CORDON, lease=60.0)
    await asyncio.sleep(50.0)
    await stage.take(CORDON, lease=60.0)
    await asyncio.sleep(50.0)
    assert stage.cordon.in_force == "one"

    await asyncio.sleep(11.0)
    await stage.settle()
    assert stage.cordon.in_force is None
    assert stage.source.calls == ["cordon", "uncordon 2"]


async def test_jobs_of_before_leave_so_much_less_room_until_there_are_none(stage: Stage) -> None:
    await stage.take(CORDON)
    stage.held = 1
    await stage.take(UNCORDON)
    stage.cordon.note()
    await stage.settle()
    assert stage.source.calls == ["cordon", "uncordon 1"]

    stage.held = 0
    stage.cordon.note()
    await stage.settle()
    assert stage.source.calls[2:] == ["resume 2"]


async def test_a_prefetch_that_changed_meanwhile_is_left_alone(stage: Stage) -> None:
    await stage.take(CORDON)
    stage.held = 1
    await stage.take(UNCORDON)
    stage.source.prefetch = 64

    stage.held = 0
    stage.cordon.note()
    await stage.settle()
    assert stage.source.calls == ["cordon", "uncordon 1"]


async def test_cordoned_again_and_again_the_prefetch_comes_back_whole(stage: Stage) -> None:
    stage.held = 1
    for id in ("one", "two"):
        await stage.take(CORDON, id)
        await stage.take(UNCORDON, id)

    stage.held = 0
    stage.cordon.note()
    await stage.settle()
    assert stage.source.prefetch == 2
