"""The children: made, watched, killed, buried and replaced."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from longshore.contract.message import DeadReason
from longshore.worker.frames import Cause, Ended, Progress
from longshore.worker.parent import processes
from longshore.worker.parent.kill import Killer
from longshore.worker.parent.logs import Log
from longshore.worker.parent.outcome import Death
from longshore.worker.parent.slot import Kill, Slot
from longshore.worker.parent.work import Work
from longshore.worker.parent.zygote import Birth, Zygote

MAX_RESPAWN_DELAY = 30.0
"""Seconds between children when one after another dies without having done anything."""

CLOSE_GRACE = 1.0
"""Seconds that idle children have to end by themselves."""

log = Log("longshore.pool")


class PoolListener(Protocol):
    """Who hands out jobs and hears how they ended."""

    def on_ended(self, work: Work, ended: Ended) -> None:
        """The child has reported the end of `work`."""

    def on_death(self, work: Work, death: Death) -> None:
        """The child died in the middle of `work`, and nothing of it is left."""

    def on_taken_back(self, works: list[Work]) -> None:
        """These were never begun, or the worker's own end cut them short: nobody is charged."""

    def on_progress(self, work: Work, value: object) -> None:
        """The handler told how far it is."""

    def on_room(self) -> None:
        """A child can take a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one queue; seconds, `max_jobs` per child with 0 for no end."""

    slots: int
    hard: float
    soft: float | None
    kill_grace: float
    max_jobs: int


class Pool:
    """Keeps `limits.slots` children; tells `listener` what becomes of their jobs."""

    def __init__(self, zygote: Zygote, *, limits: Limits, on_kill: Callable[[Kill], None]) -> None:
        self.slots: list[Slot] = []
        self.listener: PoolListener
        self._zygote = zygote
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._killer = Killer(zygote=zygote.pid, grace=limits.kill_grace, on_kill=on_kill)
        self._statuses: dict[int, asyncio.Future[int]] = {}
        self._burials: set[asyncio.Task[None]] = set()
        self._barren = 0
        self._ending = False
        self._empty = asyncio.Event()
        zygote.on_birth = self._on_birth
        zygote.on_fork_failed = self._on_fork_failed
        zygote.on_buried = self.on_status

    def start(self, listener: PoolListener) -> None:
        """Ask for the first children."""
        self.listener = listener
        for _ in range(self._limits.slots):
            self._zygote.fork()

    @property
    def busy(self) -> int:
        """Slots with a running job."""
        return sum(1 for slot in self.slots if slot.busy)

    def hand(self, work: Work) -> bool:
        """Give `work` to the child that holds least; False when none has room."""
        open_slots = [slot for slot in self.slots if slot.has_room]
        slot = min(open_slots, key=lambda slot: len(slot.busy), default=None)
        try:
            if slot is None or not slot.hand(work):
                return False
        except OSError as error:  # no descriptor or memory left for a large body: it waits
            log.warning("hand-over-failed", error=str(error), **work.fields())
            return False
        if slot.running is work:
            self._start_clocks(slot, work)
        return True

    def take_back(self) -> list[Work]:
        """Everything handed over that no child has begun."""
        return [work for slot in self.slots for work in slot.take_back()]

    def interrupt(self, work: Work, cause: Cause) -> None:
        """Ask `work` to end soon, if it runs."""
        for slot in self.slots:
            if slot.running is work and not slot.killed_for:
                slot.interrupt(work, cause)

    def kill(self, slot: Slot, cause: Kill) -> None:
        """End a child, with its whole tree."""
        self._killer.kill(slot, cause)

    def on_status(self, pid: int, status: int) -> None:
        """A child was reaped, by the zygote or, when that is gone, by us."""
        waiting = self._statuses.get(pid)
        if waiting and not waiting.done():
            waiting.set_result(status)

    async def close(self) -> None:
        """End all children; what still runs is killed."""
        self._ending = True
        if not self.slots:
            return
        for slot in list(self.slots):
            if slot.busy:
                self._killer.kill(slot, Kill.DRAIN, at_once=True)
            elif not slot.closing:
                slot.end_input()
        try:
            async with asyncio.timeout(CLOSE_GRACE):
                await self._empty.wait()
        except TimeoutError:
            for slot in self.slots:
                self._killer.kill(slot, Kill.DRAIN, at_once=True)
        if self._burials:
            await asyncio.wait(self._burials, timeout=CLOSE_GRACE)

    def _on_birth(self, birth: Birth) -> None:
        slot = Slot(birth)
        self.slots.append(slot)
        self._statuses[slot.pid] = self._loop.create_future()
        self._loop.add_reader(slot.results, self._on_records, slot)
        self._loop.add_reader(slot.output_descriptor, self._on_output, slot)
        self._loop.add_reader(slot.pidfd, self._on_exit, slot)
        if self._ending:
            slot.end_input()
        else:
            self.listener.on_room()

    def _on_fork_failed(self, error: str) -> None:
        log.error("fork-failed", error=error)
        self._respawn(barren=True)

    def _on_records(self, slot: Slot) -> None:
        for record in slot.read_records():
            work = slot.running
            if work is None or work.ticket != record.ticket:
                continue  # progress of a thread that outlived its job
            if isinstance(record, Progress):
                self.listener.on_progress(work, record.value)
                continue
            slot.cancel_timers()
            slot.output.finish(work)
            slot.busy.popleft()
            slot.served += 1
            self._barren = 0
            if slot.running:
                self._start_clocks(slot, slot.running)
            if self._limits.max_jobs and slot.served >= self._limits.max_jobs:
                slot.closing = True
                if not slot.busy:
                    slot.end_input()
            self.listener.on_ended(work, record)
        if slot.has_room:
            self.listener.on_room()

    def _on_output(self, slot: Slot) -> None:
        if not slot.output.read(slot.running):
            self._loop.remove_reader(slot.output_descriptor)

    def _start_clocks(self, slot: Slot, work: Work) -> None:
        work.started = now = self._loop.time()
        slot.timers.append(
            self._loop.call_at(now + work.hard_limit, self._killer.kill, slot, Kill.HARD_LIMIT)
        )
        if self._limits.soft is not None:
            slot.timers.append(
                self._loop.call_at(now + self._limits.soft, slot.interrupt, work, Cause.SOFT_LIMIT)
            )

    def _on_exit(self, slot: Slot) -> None:
        slot.closing = True
        slot.cancel_timers()
        self._loop.remove_reader(slot.pidfd)
        self._on_records(slot)  # all that it has told stands
        self._loop.remove_reader(slot.results)
        burial = self._loop.create_task(self._bury(slot))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def _bury(self, slot: Slot) -> None:
        """The order is that of docs/state_machine.md, "Order at the end of a child"."""
        await self._killer.clean_up_after(slot)
        back = slot.take_back()
        self._zygote.bury(slot.pid)
        status = await self._statuses[slot.pid]
        del self._statuses[slot.pid]
        work = slot.running
        tail = slot.output.finish(work)
        self._loop.remove_reader(slot.output_descriptor)
        begun = work is not None and slot.has_begun(work)
        slot.close()
        self.slots.remove(slot)
        barren = not (slot.served or begun or slot.killed_for or slot.dismissed)
        if work and begun and slot.killed_for is not Kill.DRAIN:
            self.listener.on_death(work, _death(slot, status, work, tail))
        elif work:
            back.insert(0, work)
        if back:
            self.listener.on_taken_back(back)
        if barren:
            log.error(
                "child-died-idle", pid=slot.pid, exit=processes.describe_exit(status), output=tail
            )
        self._respawn(barren=barren)

    def _respawn(self, *, barren: bool) -> None:
        if self._ending:
            if not self.slots:
                self._empty.set()
            return
        self._barren = self._barren + 1 if barren else 0
        if not self._barren:
            self._zygote.fork()
            return
        delay = min(MAX_RESPAWN_DELAY, 0.1 * 2.0**self._barren)
        self._loop.call_later(delay, self._zygote.fork)


def _death(slot: Slot, status: int, work: Work, tail: str) -> Death:
    how = processes.describe_exit(status)
    match slot.killed_for:
        case Kill.HARD_LIMIT:
            error = f"killed: it ran longer than its hard limit of {work.hard_limit:g} s"
            return Death(reason=DeadReason.HARD_LIMIT, error=error, output=tail)
        case Kill.MEMORY_LIMIT:
            error = f"killed: its processes used {slot.memory_seen} bytes, more than its limit"
            return Death(reason=DeadReason.MEMORY_LIMIT, error=error, output=tail)
        case _:
            error = f"its process {how} before the handler ended"
            return Death(reason=DeadReason.WORKER_LOST, error=error, output=tail)
