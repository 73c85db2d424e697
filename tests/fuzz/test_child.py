"""What a child sends: arbitrary bytes, and records that are nearly right."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.records import Intake
from longshore.worker.wire.frames import Ended, Progress, Status, encode_record
from tests.fuzz.conftest import Seeds
from tests.unit.worker.test_child import Puppet, work

JOBS = 6
ROOM = 100_000
"""Bytes that a socket surely takes before anything is read."""

_ENDED = {
    "kind": "ended",
    "status": "failed",
    "seconds": 0.1,
    "error": None,
    "traceback": None,
    "delay": None,
    "result": None,
    "result_omitted": None,
}

_NUMBERS = (0, -1, 7, 2**64, 2**70, 1e300)
_VALUES: tuple[object, ...] = (None, True, *_NUMBERS, "", "x" * 300, [], {}, [[[]]], {"a": {}})
_WORDS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"NaN",
    b"[" * 5000,
    b'{"kind": "ended"}',
    b"\xff" * 4,
)


async def test_a_child_that_makes_no_sense_is_found_out_and_only_that(seeds: Seeds) -> None:
    loop = asyncio.get_running_loop()
    bugs: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: bugs.append(context))
    for seed in seeds:
        await _attack(random.Random(seed))
        assert not bugs, bugs


async def _attack(dice: random.Random) -> None:
    puppet = Puppet()
    ended: list[int] = []
    honest = 0
    faults: list[str | None] = []

    def on_ended(child: Child, record: Ended, _tail: str, at: float) -> None:
        assert record.ticket <= max(honest, puppet.mark.running), "of what has begun"
        assert child.has_begun()
        assert child.end_first(at=at).ticket == record.ticket
        ended.append(record.ticket)

    def on_progress(child: Child, record: Progress) -> None:
        json.dumps(record.value, allow_nan=False)
        assert child.jobs[0].ticket == record.ticket

    intake = Intake(
        on_ended=on_ended,
        on_progress=on_progress,
        on_fault=lambda child: faults.append(child.fault),
        on_read=lambda _: None,
    )
    for ticket in range(1, JOBS + 1):
        assert puppet.child.hand(work(ticket), now=0.0)
    intake.watch(puppet.child)
    is_honest = True
    sent = 0
    for _ in range(dice.randrange(1, 12)):
        if sent > ROOM:
            break  # a child would wait here until somebody reads
        if dice.random() < 0.5 and honest < JOBS:
            honest += 1
            dice.choice((puppet.end, puppet.succeed))(honest)
        elif dice.random() < 0.2:
            is_honest = False
            _forge_success(puppet, dice, next_ticket=honest + 1)
            break  # what comes next could make it true
        else:
            message, is_record = _message(dice, next_ticket=honest + 1)
            is_honest = is_honest and is_record
            sent += puppet.results.send(message)
    intake.read_records(puppet.child)
    await asyncio.sleep(0)
    puppet.child.die()
    await intake.finish_records(puppet.child)
    await intake.finish_output(puppet.child)
    assert ended == sorted(ended), "in their order"
    if is_honest:
        assert not faults
        assert ended == [*range(1, honest + 1)]
    elif not puppet.child.has_hung_up:
        assert len(faults) <= 1
        assert puppet.child.fault, "something that is no record was believed"
    puppet.close()


def _forge_success(puppet: Puppet, dice: random.Random, *, next_ticket: int) -> None:
    """A success that is none, where a child tells them."""
    running = puppet.mark.running
    match dice.randrange(3):
        case 0:  # of a job that has not begun
            puppet.succeed(next_ticket)
            puppet.mark.running = running
        case 1:
            puppet.succeed(next_ticket + 1 + dice.randrange(3))
        case 2:
            seconds = dice.choice((float("nan"), float("inf"), -1.0))
            puppet.succeed(next_ticket, seconds=seconds)


def _message(dice: random.Random, *, next_ticket: int) -> tuple[bytes, bool]:
    """A message, and whether a child might send it."""
    match dice.randrange(7):
        case 0:
            return dice.randbytes(dice.choice((1, 4, 20, 300, 70_000))), False
        case 1:
            return dice.choice(_WORDS), False
        case 2:
            # A progress of a job that was never handed over.
            return encode_record(Progress(ticket=JOBS + 1 + dice.randrange(9), value=1)), False
        case 3:
            far = next_ticket + 1 + dice.randrange(3)
            return encode_record(Ended(far, Status.SUCCEEDED, 0.1)), False
        case 4:
            record: dict[str, Any] = {**_ENDED, "ticket": next_ticket}
            record[dice.choice([*record])] = {"no": "such thing"}
            return json.dumps(record).encode(), False
        case 5:
            seconds = dice.choice((float("nan"), float("inf"), -1.0))
            return json.dumps({**_ENDED, "ticket": next_ticket, "seconds": seconds}).encode(), False
    value = dice.choice(_VALUES)
    return encode_record(Progress(ticket=dice.randrange(1, JOBS + 1), value=value)), True
