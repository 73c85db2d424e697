"""The pool over sockets without processes."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from longshore.worker.linux.exits import Exit
from longshore.worker.parent.children import child as child_module
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.kill import Killer
from longshore.worker.parent.children.pool import HAND_RETRY, Limits, Pool
from longshore.worker.parent.children.states import ChildState, Kill
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Cause, Ended, Status, encode_record, receive_job
from tests.unit.worker.test_child import Puppet, work

pytestmark = pytest.mark.virtual_time


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
def puppet() -> Iterator[Puppet]:
    puppet = Puppet()
    yield puppet
    puppet.close()


def pool_of(
    puppet: Puppet,
    *,
    max_jobs: int = 0,
    max_memory: int | None = None,
    zygote: Any = None,
    listener: Any = None,
) -> Pool:
    listener, zygote = listener or Listener(), zygote or Zygote()
    limits = Limits(slots=1, kill_grace=60.0, max_jobs=max_jobs, max_memory=max_memory)
    pool = Pool(
        zygote,
        listener,
        limits=limits,
        on_kill=lambda _: None,
        put_line=lambda _: None,
    )
    pool.start()
    pool.children.append(puppet.child)
    return pool


def give(pool: Pool, job: Work) -> bool:
    """Hand over `job` however much the only child has, with no clock against it."""
    (child,) = pool.children
    pool.placements.add(job, child)
    return child.hand(job, now=0.0)


async def test_a_job_behind_one_that_is_taken_back_has_its_whole_time(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, child = pool_of(puppet), puppet.child
    first, second = work(1), work(2)
    for each in (first, second):
        give(pool, each)
    child.begin(asyncio.get_running_loop().time() - 0.9)
    # While the parent takes the first, the child gets the second.
    frames = iter((receive_job(puppet.far), None))
    receive_job(puppet.far)
    monkeypatch.setattr(child_module, "receive_job", lambda *_, **__: next(frames))
    assert pool.take_back() == [first]
    assert child.due(60.0) > asyncio.get_running_loop().time() + 0.9


async def test_a_job_that_its_child_has_received_is_asked_to_end_though_another_comes_first(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(puppet)
    first, second = work(1), work(2)
    for each in (first, second):
        give(pool, each)
    pool.interrupt(second, Cause.DELIVERY_LOST)
    assert puppet.mark.order_for(1) is None
    monkeypatch.setattr(puppet.child, "signal", lambda _: None)
    puppet.child.end_first(at=0.0)
    assert puppet.mark.is_lost(2)


async def test_of_two_deliveries_of_one_job_only_the_lost_one_is_asked_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost, again = Puppet(), Puppet()
    pool = pool_of(lost)
    first, second = work(1), work(2)
    second.message.id = first.message.id
    assert give(pool, first)
    pool.children[:] = [again.child]
    assert give(pool, second)
    found = [(first, lost.child), (second, again.child)]
    assert pool.placements.find(first.message.id) == found
    monkeypatch.setattr(Child, "signal", lambda *_: None)
    pool.interrupt(first, Cause.DELIVERY_LOST)
    assert lost.mark.is_lost(1)
    assert again.mark.order_for(2) is None
    for each in (lost, again):
        each.close()


async def test_a_job_that_nothing_was_left_for_is_handed_over_again(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    pool = pool_of(puppet, listener=listener)

    def hand(*_: Any, **__: Any) -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(puppet.child, "hand", hand)
    assert not pool.hand(work(1))
    assert not pool.hand(work(1))
    await asyncio.sleep(2 * HAND_RETRY)
    assert listener.rooms == 1


async def test_a_child_with_its_last_job_has_a_successor_which_waits_its_turn() -> None:
    zygote, puppet = Zygote(), Puppet(max_jobs=2)
    pool = pool_of(puppet, max_jobs=2, zygote=zygote)
    first, second, third = work(1), work(2), work(3)
    assert pool.hand(first)
    assert zygote.forks == 1  # its own
    puppet.child.end_first(at=0.0)
    assert pool.hand(second)
    assert zygote.forks == 2
    spare = Puppet()
    pool.children.append(spare.child)
    assert not pool.hand(third)
    puppet.child.end_first(at=0.0)
    assert pool.hand(third)
    assert [*spare.child.jobs] == [third]
    assert zygote.forks == 2
    for each in (puppet, spare):
        each.close()


async def served(count: int, child: Child) -> None:
    async with asyncio.timeout(5):
        while True:
            if child.served == count:
                return
            await asyncio.sleep(0.01)


async def test_a_job_that_has_ended_in_time_is_not_killed_though_its_output_is_not_logged_yet(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, child = pool_of(puppet), puppet.child
    loop = asyncio.get_running_loop()
    pool._intake.watch(child)
    for ticket in (1, 2):
        assert give(pool, work(ticket))
        assert receive_job(puppet.far)
    os.write(puppet.output, b"\n" * 60_000)
    puppet.succeed(1)
    puppet.mark.running = 2
    child.begin(loop.time() - 60)
    pool._clocks._strike()
    assert child.killed_for is None
    assert child.due(0.0) == math.inf
    await served(1, child)
    assert child.jobs[0].ticket == 2
    child.begin(loop.time() - 60)
    pool._clocks._strike()
    assert child.killed_for is Kill.HARD_LIMIT
    loop.remove_reader(child.output_descriptor)


async def test_what_a_record_tells_waits_for_the_successes_before_it(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, child = pool_of(puppet), puppet.child
    for ticket in (1, 2, 3):
        assert give(pool, work(ticket))
    os.write(puppet.output, b"\n" * 60_000)
    puppet.succeed(1)
    puppet.succeed(2)
    puppet.end(3)
    pool._intake.read_records(child)
    assert child.served == 0
    await served(3, child)
    assert child.fault is None
    assert not child.output.is_broken


async def test_a_success_behind_lines_that_a_record_made_us_read_is_passed_on(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pipe is empty then, and wakes nobody."""
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, child = pool_of(puppet), puppet.child
    pool._intake.watch(child)
    for ticket in (1, 2):
        assert give(pool, work(ticket))
        assert receive_job(puppet.far)
    puppet.end(1)
    puppet.mark.running = 2
    os.write(puppet.output, b"line\n" * 400)
    puppet.succeed(2)
    pool._intake.read_records(child)
    assert child.served == 1
    await served(2, child)
    asyncio.get_running_loop().remove_reader(child.output_descriptor)


async def test_a_result_comes_with_the_end_of_its_job(puppet: Puppet) -> None:
    ends: list[Ended] = []
    listener = SimpleNamespace(on_room=lambda: None, on_ended=lambda _, ended: ends.append(ended))
    pool, child = pool_of(puppet, listener=listener), puppet.child
    for ticket in (1, 2, 3):
        assert give(pool, work(ticket))
    puppet.succeed(1)
    puppet.mark.running = 2
    puppet.tell_of_a_record()
    told = Ended(2, Status.SUCCEEDED, 0.1, result='{"rows": 3}')
    puppet.results.send(encode_record(told))
    puppet.succeed(3)
    pool._intake.read_records(child)
    await served(3, child)
    assert [ended.ticket for ended in ends] == [1, 2, 3]
    assert ends[1] == told


async def test_who_has_sent_nonsense_is_charged_and_others_end_or_go_back(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_is_left(*_: Any) -> None:
        pass

    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    monkeypatch.setattr(Killer, "clean_up_after", nothing_is_left)
    monkeypatch.setattr(puppet.child, "bury", lambda: None)  # the fixture does
    told: dict[str, list[int]] = {"ended": [], "died": [], "back": []}
    listener = SimpleNamespace(
        on_room=lambda: None,
        on_ended=lambda work, _: told["ended"].append(work.ticket),
        on_death=lambda work, *_, **__: told["died"].append(work.ticket),
        on_taken_back=lambda works: told["back"].extend(work.ticket for work in works),
    )
    pool, child = pool_of(puppet, listener=listener), puppet.child
    for ticket in range(1, 8):
        assert give(pool, work(ticket))
    for _ in range(6):
        assert receive_job(puppet.far)
    puppet.succeed(1)
    puppet.mark.running = 2
    puppet.results.send(b"nonsense")
    puppet.end(2)
    puppet.end(3)  # all before the parent has read any of it
    puppet.mark.running = 4
    pool._intake.read_records(child)
    puppet.succeed(4)  # and before it was killed
    puppet.end(5)
    puppet.mark.running = 6
    child.die()
    await pool._bury(child)
    assert told == {"ended": [1, 3, 4, 5], "died": [2], "back": [7, 6]}


async def test_a_dead_childs_successes_stand(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)
    pool, child = pool_of(puppet), puppet.child
    for ticket in (1, 2, 3, 4):
        assert give(pool, work(ticket))
    puppet.succeed(1)
    os.write(puppet.output, b"\n" * 60_000)
    puppet.succeed(2)
    puppet.end(3)
    puppet.mark.running = 4
    child.die()
    await pool._intake.finish_records(child)
    assert child.served == 3
    assert [each.ticket for each in child.jobs] == [4]


@pytest.mark.parametrize("spare", [-1, 2**30])
async def test_a_child_that_keeps_too_much_memory_gets_no_more_and_ends_when_it_is_empty(
    puppet: Puppet, spare: int
) -> None:
    zygote, child = Zygote(), puppet.child
    most = processes.resident(os.getpid()) + spare
    pool = pool_of(puppet, max_memory=most, zygote=zygote)
    outgrown = spare < 0
    for ticket in (1, 2):
        assert give(pool, work(ticket))
    for ticket in (1, 2):
        assert child.state is not ChildState.DISMISSED
        puppet.end(ticket)
        pool._intake.read_records(child)
        assert child.takes_jobs is not outgrown
        assert zygote.forks == 1 + outgrown
    assert (child.state is ChildState.DISMISSED) is outgrown
    assert pool.hand(work(3)) is not outgrown


async def test_a_child_that_keeps_too_much_memory_ends_when_its_last_job_is_taken_back(
    puppet: Puppet,
) -> None:
    pool, child = pool_of(puppet, max_memory=1), puppet.child
    for ticket in (1, 2):
        assert give(pool, work(ticket))
    assert receive_job(puppet.far)
    puppet.end(1)
    pool._intake.read_records(child)
    states = [child.state]
    assert [each.ticket for each in pool.take_back()] == [2]
    states.append(child.state)
    assert states == [ChildState.RETIRING, ChildState.DISMISSED]


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert processes.resident(2**22 + 1) == 0
    assert processes.proportional(2**22 + 1) == 0


async def test_a_worker_is_stuck_when_all_its_slots_are_and_not_while_a_child_is_on_its_way(
    puppet: Puppet,
) -> None:
    pool = pool_of(puppet)
    assert not pool.is_stuck()
    pool.hand(work(1))
    assert not pool.is_stuck()
    puppet.child.begin(asyncio.get_running_loop().time() - 1)
    assert pool.is_stuck()
    pool.children.remove(puppet.child)
    assert not pool.is_stuck()


async def test_a_child_that_hangs_up_is_not_listened_to(puppet: Puppet) -> None:
    pool, child = pool_of(puppet), puppet.child
    loop = asyncio.get_running_loop()
    pool._intake.watch(child)
    puppet.results.close()
    await asyncio.sleep(0.01)
    assert not loop.remove_reader(child.results)


async def test_only_the_memory_limit_kills_at_once(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[signal.Signals] = []
    monkeypatch.setattr(Killer, "_strike", lambda _self, _child, number: sent.append(number))
    pool = pool_of(puppet)
    pool.kill(puppet.child, Kill.HARD_LIMIT)
    pool.kill(puppet.child, Kill.MEMORY_LIMIT)
    assert sent == [signal.SIGTERM, signal.SIGKILL]


async def test_a_burial_that_fails_ends_the_worker(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []

    async def fail(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(sys, "excepthook", lambda *_: None)
    monkeypatch.setattr(Killer, "clean_up_after", fail)
    pool_of(puppet)._on_exit(puppet.child)
    await asyncio.sleep(0.01)
    assert codes == [Exit.CRASHED]


def test_processes_of_another_user_are_named_not_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "killpg", refuse)
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    own = os.getpid()
    assert processes.signal_group(own, signal.SIGTERM) == [own]
    assert processes.signal_each([own], signal.SIGTERM, processes.snapshot()) == [own]
