"""The pool over sockets without processes."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from longshore.worker.parent import crash
from longshore.worker.parent.children import pool as module
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Kill, Slot
from longshore.worker.parent.children.kill import Killer
from longshore.worker.parent.children.pool import Limits, Pool
from longshore.worker.wire.frames import Cause, receive_job
from tests.unit.worker.test_slot import Child, work


class Zygote:
    pid = 0

    def __init__(self) -> None:
        self.forks = 0
        self.gone = asyncio.get_running_loop().create_future()

    def fork(self, _asker: Any) -> None:
        self.forks += 1

    async def reap(self, pid: int) -> int:
        return 9


class Listener:
    rooms = 0

    def on_room(self) -> None:
        self.rooms += 1

    def on_ended(self, *_: Any) -> None:
        pass

    def on_taken_back(self, works: list[Any]) -> None:
        pass


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


def pool_of(
    child: Child,
    *,
    max_jobs: int = 0,
    max_memory: int | None = None,
    zygote: Any = None,
    listener: Any = None,
) -> Pool:
    listener = listener or Listener()
    limits = Limits(slots=1, kill_grace=60.0, max_jobs=max_jobs, max_memory=max_memory)
    pool = Pool(
        zygote or Zygote(),
        listener,
        limits=limits,
        on_kill=lambda _: None,
        put_line=lambda _: None,
    )
    pool.start()
    pool.slots.append(child.slot)
    return pool


async def test_a_job_behind_one_that_is_taken_back_has_its_whole_time(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, slot = pool_of(child), child.slot
    first, second = work(1), work(2)
    for each in (first, second):
        slot.hand(each)
    slot.begin(asyncio.get_running_loop().time() - 0.9)

    def take_back() -> list[Any]:  # while the parent takes the first, the child gets the second
        slot.busy.popleft()
        return [first]

    monkeypatch.setattr(slot, "take_back", take_back)
    assert pool.take_back() == [first]
    assert slot.due(60.0) > asyncio.get_running_loop().time() + 0.9


async def test_a_job_that_its_child_has_received_is_asked_to_end_though_another_comes_first(
    child: Child,
) -> None:
    pool = pool_of(child)
    first, second = work(1), work(2)
    for each in (first, second):
        child.slot.hand(each)
    pool.interrupt(second, Cause.DELIVERY_LOST)
    assert (first.asked, second.asked) == (None, Cause.DELIVERY_LOST)


async def test_a_job_that_nothing_was_left_for_is_handed_over_again(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HAND_RETRY", 0.01)
    listener = Listener()
    pool = pool_of(child, listener=listener)

    def hand(_: Any) -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(child.slot, "hand", hand)
    assert not pool.hand(work(1))
    assert not pool.hand(work(1))
    await asyncio.sleep(0.05)
    assert listener.rooms == 1


async def test_a_child_with_its_last_job_has_a_successor_which_waits_its_turn(
    child: Child,
) -> None:
    zygote = Zygote()
    pool = pool_of(child, max_jobs=2, zygote=zygote)
    first, second, third = work(1), work(2), work(3)
    assert pool.hand(first)
    assert zygote.forks == 1  # its own
    child.slot.busy.popleft()
    child.slot.served = 1
    assert pool.hand(second)
    assert zygote.forks == 2
    spare = Child()
    pool.slots.append(spare.slot)
    assert not pool.hand(third)
    child.slot.busy.popleft()
    child.slot.served = 2
    assert pool.hand(third)
    assert [*spare.slot.busy] == [third]
    assert zygote.forks == 2
    spare.close()


async def served(count: int, slot: Slot) -> None:
    async with asyncio.timeout(5):
        while True:
            if slot.served == count:
                return
            await asyncio.sleep(0.01)


async def test_a_job_that_has_ended_in_time_is_not_killed_though_its_output_is_not_logged_yet(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, slot = pool_of(child), child.slot
    loop = asyncio.get_running_loop()
    pool._intake.watch(slot)
    for ticket in (1, 2):
        assert slot.hand(work(ticket))
        assert receive_job(child.far)
    os.write(child.output, b"\n" * 60_000)
    child.succeed(1)
    child.mark.running = 2
    slot.begin(loop.time() - 60)
    pool._clocks._strike()
    assert slot.killed_for is None
    assert slot.due(0.0) == math.inf
    await served(1, slot)
    assert slot.busy[0].ticket == 2
    slot.begin(loop.time() - 60)
    pool._clocks._strike()
    assert slot.killed_for is Kill.HARD_LIMIT
    loop.remove_reader(slot.output_descriptor)


async def test_what_a_record_tells_waits_for_the_successes_before_it(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, slot = pool_of(child), child.slot
    for ticket in (1, 2, 3):
        assert slot.hand(work(ticket))
    os.write(child.output, b"\n" * 60_000)
    child.succeed(1)
    child.succeed(2)
    child.end(3)
    pool._intake.read_records(slot)
    assert slot.served == 0
    await served(3, slot)
    assert slot.fault is None
    assert not slot.output.is_broken


async def test_a_success_behind_lines_that_a_record_made_us_read_is_passed_on(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipe is empty then, and wakes nobody."""
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, slot = pool_of(child), child.slot
    pool._intake.watch(slot)
    for ticket in (1, 2):
        assert slot.hand(work(ticket))
        assert receive_job(child.far)
    child.end(1)
    child.mark.running = 2
    os.write(child.output, b"line\n" * 400)
    child.succeed(2)
    pool._intake.read_records(slot)
    assert slot.served == 1
    await served(2, slot)
    asyncio.get_running_loop().remove_reader(slot.output_descriptor)


async def test_who_has_sent_nonsense_is_charged_and_others_end_or_go_back(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_is_left(*_: Any) -> None:
        pass

    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    monkeypatch.setattr(Killer, "clean_up_after", nothing_is_left)
    monkeypatch.setattr(child.slot, "close", lambda: None)  # the fixture does
    told: dict[str, list[int]] = {"ended": [], "died": [], "back": []}
    listener = SimpleNamespace(
        on_room=lambda: None,
        on_ended=lambda work, _: told["ended"].append(work.ticket),
        on_death=lambda work, *_, **__: told["died"].append(work.ticket),
        on_taken_back=lambda works: told["back"].extend(work.ticket for work in works),
    )
    pool, slot = pool_of(child, listener=listener), child.slot
    for ticket in range(1, 8):
        assert slot.hand(work(ticket))
    for _ in range(6):
        assert receive_job(child.far)
    child.succeed(1)
    child.mark.running = 2
    child.results.send(b"nonsense")
    child.end(2)
    child.end(3)  # all before the parent has read any of it
    child.mark.running = 4
    pool._intake.read_records(slot)
    child.succeed(4)  # and before it was killed
    child.end(5)
    child.mark.running = 6
    slot.is_dead = True
    await pool._bury(slot)
    assert told == {"ended": [1, 3, 4, 5], "died": [2], "back": [7, 6]}


async def test_a_dead_childs_successes_stand(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, slot = pool_of(child), child.slot
    for ticket in (1, 2, 3, 4):
        assert slot.hand(work(ticket))
    child.succeed(1)
    os.write(child.output, b"\n" * 60_000)
    child.succeed(2)
    child.end(3)
    child.mark.running = 4
    slot.is_dead = True
    await pool._intake.finish_records(slot)
    assert slot.served == 3
    assert [each.ticket for each in slot.busy] == [4]


@pytest.mark.parametrize("spare", [-1, 2**30])
async def test_a_child_that_keeps_too_much_memory_gets_no_more_and_ends_when_it_is_empty(
    child: Child, spare: int
) -> None:
    zygote, slot = Zygote(), child.slot
    most = processes.resident(os.getpid()) + spare
    pool = pool_of(child, max_memory=most, zygote=zygote)
    outgrown = spare < 0
    for ticket in (1, 2):
        assert slot.hand(work(ticket))
    for ticket in (1, 2):
        assert not slot.closing
        child.end(ticket)
        pool._intake.read_records(slot)
        assert slot.is_outgrown is outgrown
        assert zygote.forks == 1 + outgrown
    assert slot.dismissed is outgrown
    assert pool.hand(work(3)) is not outgrown


async def test_a_child_that_keeps_too_much_memory_ends_when_its_last_job_is_taken_back(
    child: Child,
) -> None:
    pool, slot = pool_of(child, max_memory=1), child.slot
    for ticket in (1, 2):
        assert slot.hand(work(ticket))
    assert receive_job(child.far)
    child.end(1)
    pool._intake.read_records(slot)
    assert not slot.dismissed
    assert [each.ticket for each in pool.take_back()] == [2]
    assert slot.dismissed


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert processes.resident(2**22 + 1) == 0
    assert processes.proportional(2**22 + 1) == 0


async def test_a_worker_is_stuck_when_all_its_slots_are_and_not_while_a_child_is_on_its_way(
    child: Child,
) -> None:
    pool = pool_of(child)
    assert not pool.is_stuck()
    pool.hand(work(1))
    assert not pool.is_stuck()
    child.slot.begin(asyncio.get_running_loop().time() - 1)
    assert pool.is_stuck()
    pool.slots.remove(child.slot)
    assert not pool.is_stuck()


async def test_a_child_that_hangs_up_is_not_listened_to(child: Child) -> None:
    pool, slot = pool_of(child), child.slot
    loop = asyncio.get_running_loop()
    pool._intake.watch(slot)
    child.results.close()
    await asyncio.sleep(0.01)
    assert not loop.remove_reader(slot.results)


async def test_only_the_memory_limit_kills_at_once(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[signal.Signals] = []
    monkeypatch.setattr(Killer, "_strike", lambda _self, _slot, number: sent.append(number))
    pool = pool_of(child)
    pool.kill(child.slot, Kill.HARD_LIMIT)
    pool.kill(child.slot, Kill.MEMORY_LIMIT)
    assert sent == [signal.SIGTERM, signal.SIGKILL]


async def test_a_burial_that_fails_ends_the_worker(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []

    async def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(crash.os, "_exit", codes.append)
    monkeypatch.setattr(crash.sys, "excepthook", lambda *_: None)
    monkeypatch.setattr(Killer, "clean_up_after", fail)
    pool_of(child)._on_exit(child.slot)
    await asyncio.sleep(0.01)
    assert codes == [crash.CRASHED]


def test_processes_of_another_user_are_named_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    own = os.getpid()
    assert processes.signal_group(own, signal.SIGTERM) == [own]
    assert processes.signal_each([own], signal.SIGTERM, processes.snapshot()) == [own]
