"""How many jobs a worker holds, as a table and against a stage without broker."""

from __future__ import annotations

import asyncio

import pytest

from longshore.worker.parent.intake.flow import (
    LOOK_INTERVAL,
    MAX_PREFETCH,
    Bounds,
    Flow,
    Plan,
    Steady,
    View,
    first,
    fixed_prefetch,
    plan,
    prefetch_for,
)

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize(
    ("mean", "slots", "held"),
    [
        (None, 4, 4),
        (0.0, 2, MAX_PREFETCH),
        (0.001, 2, MAX_PREFETCH),
        (0.010, 2, 22),
        (0.060, 2, 4),
        (0.101, 2, 2),
        (60.0, 8, 8),
        (0.001, 200, 200),
    ],
)
def test_no_job_waits_long(mean: float | None, slots: int, held: int) -> None:
    assert prefetch_for(mean, bounds=Bounds(slots=slots, most=1000)) == held


def test_no_more_are_held_than_fit_the_ack_timeout() -> None:
    assert prefetch_for(0.001, bounds=Bounds(slots=2, most=6)) == 6
    assert prefetch_for(0.001, bounds=Bounds(slots=2, most=2)) == 2
    assert plan(view(), now=6, bounds=Bounds(slots=2, most=6)) is None


BOUNDS = Bounds(slots=2, most=1000)


def view(*, mean: float | None = 0.001, is_stuck: bool = False, taken: int = 0) -> View:
    return View(mean=mean, is_stuck=is_stuck, taken=taken)


@pytest.mark.parametrize(
    ("seen", "now", "step"),
    [
        (view(mean=None), 2, None),
        (view(), 2, Plan(prefetch=MAX_PREFETCH, gives_back=False)),
        (view(), MAX_PREFETCH, None),
        (view(is_stuck=True), MAX_PREFETCH, Plan(prefetch=2, gives_back=True)),
        (view(mean=5.0), MAX_PREFETCH, Plan(prefetch=2, gives_back=True)),
        (view(mean=5.0), 2, None),
        (view(taken=2), 0, None),
        (view(taken=1), 0, Plan(prefetch=2, gives_back=False)),
        (view(taken=1), 1, None),
        (view(taken=0), 1, Plan(prefetch=2, gives_back=False)),
    ],
)
def test_what_is_changed(seen: View, now: int, step: Plan | None) -> None:
    assert plan(seen, now=now, bounds=BOUNDS) == step


class Stage:
    def __init__(self) -> None:
        self.held = 1
        self.prefetch = 2
        self.seen = view()
        self.done: list[str | int] = []

    def view(self) -> View:
        return self.seen

    def give_back_waiting(self) -> None:
        self.done.append("give back")

    async def pause(self) -> None:
        self.done.append("pause")

    async def resume(self, prefetch: int) -> None:
        self.prefetch = prefetch
        self.done.append(prefetch)


async def test_what_waits_is_given_back_and_nothing_comes_until_a_slot_is_free() -> None:
    stage = Stage()
    flow = Flow(stage, stage, bounds=BOUNDS, changed=asyncio.Event())
    running = asyncio.ensure_future(flow.run())
    await asyncio.sleep(0.1)
    assert stage.done == ["pause", MAX_PREFETCH]
    stage.seen = view(is_stuck=True, taken=2)
    await asyncio.sleep(0.1)
    stage.seen = view(taken=2)
    await asyncio.sleep(0.1)
    assert stage.done[2:] == ["pause", "give back", 0]
    stage.seen = view(taken=1)
    await asyncio.sleep(0.1)
    assert stage.done[5:] == ["pause", 1]
    running.cancel()


async def test_after_a_new_connection_what_waits_behind_lost_jobs_is_given_back() -> None:
    stage = Stage()
    stage.prefetch = 0  # every slot was taken when the connection was lost
    flow = Flow(stage, stage, bounds=BOUNDS, changed=asyncio.Event())
    running = asyncio.ensure_future(flow.run())
    stage.prefetch = 2  # consumes anew, while what the broker has taken back still runs
    stage.seen = view(is_stuck=True, taken=2)
    await asyncio.sleep(0.1)
    assert stage.done == ["pause", "give back", 0]
    running.cancel()


@pytest.mark.parametrize(
    ("prefetch", "slots", "taken", "before", "asked"),
    [
        (1, 1, 0, 0, 1),
        (1, 1, 1, 1, 0),
        (8, 1, 1, 1, 0),
        (4, 4, 1, 1, 3),
        (8, 2, 1, 1, 4),
        (1, 4, 3, 3, 0),
        (2, 4, 1, 1, 1),
        (8, 2, 0, 5, 3),
        (4, 4, 6, 6, 0),  # children that are replaced run jobs too
    ],
)
def test_a_number_of_jobs_shrinks_with_the_slots_that_void_runs_take(
    prefetch: int, slots: int, taken: int, before: int, asked: int
) -> None:
    seen = View(mean=None, is_stuck=False, taken=taken, before=before)
    assert fixed_prefetch(prefetch, seen, slots=slots) == asked


def test_a_new_connection_begins_with_what_void_runs_leave_free() -> None:
    assert first(128, view(), slots=2) == 128
    assert first(128, view(taken=1), slots=2) == 1
    assert first(128, view(taken=3), slots=2) == 0


async def test_a_worker_has_its_number_again_once_the_void_runs_are_over() -> None:
    class Stage:
        prefetch = 0
        wanted = 0

        async def pause(self) -> None: ...

        async def resume(self, prefetch: int) -> None:
            self.prefetch = prefetch

    stage, changed = Stage(), asyncio.Event()
    steady = Steady(stage, prefetch=3, wanted=lambda: stage.wanted, changed=changed)
    running = asyncio.ensure_future(steady.run())
    changed.set()
    await asyncio.sleep(0.01)
    assert stage.prefetch == 0
    stage.wanted = 3
    changed.set()
    await asyncio.sleep(2 * LOOK_INTERVAL)
    assert stage.prefetch == 3
    running.cancel()
