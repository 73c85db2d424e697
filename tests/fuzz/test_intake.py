"""A child that tells the truth, at any pace and in any pieces: each job's end is told once, in its
order, with the lines that are its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from threading import Thread
from typing import Any

import pytest

from longshore.worker.parent.children.kill import Killer
from longshore.worker.wire.frames import Ended, Progress, Status, encode_record, receive_job
from tests.fuzz.conftest import Seeds
from tests.unit.worker.test_child import Puppet, work
from tests.unit.worker.test_pool import give, pool_of

JOBS = 8
PATIENCE = 5.0
"""Seconds for all of them."""


@pytest.fixture(autouse=True)
def _kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Killer, "_strike", lambda *_: None)  # the child's pid is our own


async def test_a_child_that_tells_the_truth_is_understood(seeds: Seeds) -> None:
    for seed in seeds:
        await _listen(random.Random(seed))


async def _listen(dice: random.Random) -> None:
    puppet = Puppet()
    ended: list[int] = []
    lines: list[dict[str, Any]] = []
    pool, child = pool_of(puppet, listener=_Listener(ended)), puppet.child
    child.output._put = lambda line: lines.append(json.loads(line))
    pool._intake.watch(child)
    tickets = [*range(1, JOBS + 1)]
    dice.shuffle(tickets)
    for ticket in tickets:
        job = work(ticket)
        job.hard_limit = 2 * PATIENCE
        assert give(pool, job)
        assert receive_job(puppet.far)
    loop = asyncio.get_running_loop()
    child.begin(loop.time())
    pool._clocks.note(child)
    dies = dice.random() < 0.3
    last = dice.randrange(JOBS) if dies else JOBS
    writer = Thread(target=_play, args=(puppet, tickets, last, random.Random(dice.random())))
    writer.start()
    async with asyncio.timeout(PATIENCE):
        while writer.is_alive() or (not dies and child.served < JOBS):
            if dice.random() < 0.3:
                _block(dice)
            await asyncio.sleep(dice.choice((0, 0, 0.001)))
    if dies:
        child.die()
        await pool._intake.finish_records(child)
    assert child.fault is None
    assert ended == tickets[:last]
    assert [each.ticket for each in child.begun()] == tickets[last : last + 1]
    told = [(each["job"], each["line"]) for each in lines if each["event"] == "output-written"]
    assert [pair for pair in told if pair[0] != f"j-{pair[1]}"] == []
    await pool._intake.finish_output(child)
    loop.remove_reader(child.results)
    puppet.close()


class _Listener:
    def __init__(self, ended: list[int]) -> None:
        self._ended = ended

    def on_room(self) -> None:
        pass

    def on_ended(self, work: Any, _record: Ended) -> None:
        self._ended.append(work.ticket)

    def on_progress(self, work: Any, value: object) -> None:
        assert work.ticket == value


def _block(dice: random.Random) -> None:
    """The loop is at something else."""
    time.sleep(dice.random() * 0.003)


def _play(puppet: Puppet, tickets: list[int], last: int, dice: random.Random) -> None:
    """Be the child until it dies in its job number `last`."""
    for number, ticket in enumerate(tickets):
        puppet.mark.running = ticket
        has_progress = dice.random() < 0.2
        if has_progress:
            puppet.results.send(encode_record(Progress(ticket=ticket, value=ticket)))
        text = f"{ticket}\n".encode() * dice.choice((0, 0, 0, 1, 3, 300, 400, 3000))
        while text:
            text = text[os.write(puppet.output, text[: dice.choice((7, 4096, 70_000))]) :]
        if number == last:
            if dice.random() < 0.5:  # between its boundary and its record
                puppet.tell_of_a_record()
            return
        if dice.random() < 0.5 and not has_progress:
            puppet.succeed(ticket)
        else:
            puppet.tell_of_a_record()
            puppet.results.send(encode_record(Ended(ticket, Status.FAILED, 0.1, "error")))
        if dice.random() < 0.4:
            time.sleep(dice.random() * 0.002)
