"""The pool of children: creates, watches, kills, buries and replaces them."""

import asyncio
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from longshore.contract import backoff
from longshore.logs import Log
from longshore.worker.linux.exits import describe_exit
from longshore.worker.parent.children import processes
from longshore.worker.parent.children.child import Child
from longshore.worker.parent.children.clocks import Clocks
from longshore.worker.parent.children.death import death_of
from longshore.worker.parent.children.kill import Killer
from longshore.worker.parent.children.pace import HOLD, Pace
from longshore.worker.parent.children.records import Intake
from longshore.worker.parent.children.states import Kill
from longshore.worker.parent.children.zygote import Birth, Zygote
from longshore.worker.parent.crash import fail_loudly
from longshore.worker.parent.intake.flow import STUCK
from longshore.worker.parent.jobs.outcome import Death
from longshore.worker.parent.jobs.placements import Placements
from longshore.worker.parent.jobs.run import Run
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import Cause, Ended, Progress, Status

MAX_RESPAWN_DELAY = 30.0
"""Maximum seconds between children if one after another dies without having begun a job."""

HAND_RETRY = 1.0
"""Seconds until a job is handed over again after descriptors or memory were insufficient."""

REMIND_AFTER = 1.0
REMIND_AT_MOST = 8.0
"""Seconds until a job that was asked to end is asked again. The time doubles with each reminder, up
to the maximum. A job may have used SIGALRM itself, or Python may have swallowed the exception in a
destructor. A child that has raised the exception in its handler ignores reminders."""

CLOSE_GRACE = 1.0
"""Seconds for idle children to end by themselves before they are killed."""

log = Log("longshore.pool")


class PoolListener(Protocol):
    """Hands out jobs, and is notified of their ends."""

    def on_ended(self, work: Work, ended: Ended) -> None:
        """Called when the child has reported the end of `work`."""

    def on_death(self, work: Work, death: Death, *, seconds: float) -> None:
        """Called when the child died `seconds` into `work`, and nothing of it is left."""

    def on_taken_back(self, works: list[Work]) -> None:
        """Take back jobs that were not begun, or that the worker's end interrupted, uncharged."""

    def on_progress(self, work: Work, value: object) -> None:
        """Called when the handler has reported progress."""

    def on_room(self) -> None:
        """Called when a child has room for a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one queue. Times are in seconds; `max_jobs` is per child, with 0 for no limit.

    `max_memory` is how many bytes a child may keep after a job; None for no limit.
    """

    slots: int
    kill_grace: float
    max_jobs: int
    max_memory: int | None = None


class Pool:
    """Keeps `limits.slots` children, and a spare one for each that has its last job.

    Notifies `listener` of what becomes of their jobs, of which at most `limits.slots` run at once.
    """

    def __init__(
        self,
        zygote: Zygote,
        listener: PoolListener,
        *,
        limits: Limits,
        on_kill: Callable[[Kill], None],
        put_line: Callable[[str], None],
    ) -> None:
        self.children: list[Child] = []
        self.placements: Placements[Child] = Placements()
        """Jobs that children have, including those of dead children that are not buried yet."""

        self._zygote = zygote
        self._listener = listener
        self._limits = limits
        self._put_line = put_line
        self._loop = asyncio.get_running_loop()
        self.pace = Pace()
        self._intake = Intake(
            on_ended=self._on_ended,
            on_progress=self._on_progress,
            on_fault=self._on_fault,
            on_read=self._on_read,
        )
        self._clocks = Clocks(
            self.children,
            look=self._intake.read_records,
            on_soft=self._on_soft_limit,
            on_hard=self._on_hard_limit,
            on_held=self._on_held,
        )
        self._killer = Killer(
            self.children, zygote=zygote.pid, grace=limits.kill_grace, on_kill=on_kill
        )
        self._burials: set[asyncio.Task[None]] = set()
        self._hand_retry: asyncio.TimerHandle | None = None
        self._barren = 0
        self._ending = False
        self._empty = asyncio.Event()

    def start(self) -> None:
        """Request the first children."""
        for _ in range(self._limits.slots):
            self._zygote.fork(self)

    @property
    def busy(self) -> int:
        """Slots with a running job."""
        return sum(1 for child in self.children if child.jobs)

    def is_stuck(self) -> bool:
        """Return whether every slot has a job that runs longer than recent jobs did."""
        latest = self._loop.time() - max(STUCK, 2 * (self.pace.mean or 0.0))
        stuck = sum(1 for child in self.children if child.run and child.run.since < latest)
        # If a slot lacks its child, one is on its way, unless children die as they are born.
        return stuck >= self._limits.slots or (0 < stuck == len(self.children) and self._barren > 0)

    def hand(self, work: Work) -> bool:
        """Give `work` to the child that holds the fewest jobs; return False if none has room."""
        now = self._loop.time()
        child = self._roomiest(now)
        if child is None:
            return False
        try:
            if not child.hand(work, now=now):
                return False
        except (BrokenPipeError, ConnectionResetError) as error:
            child.find_fault(f"it has shut down the socket of its jobs: {error}")
            self._loop.call_soon(self._on_fault, child)  # it hands out jobs, as our caller does
            return self.hand(work)
        except OSError as error:  # too few descriptors, or no memory, for a large body: it waits
            log.warning("hand-over-failed", error=str(error), **work.fields())
            self._hand_again_soon()
            return False
        self.placements.add(work, child)
        if not child.takes_jobs:
            self._ask_for_successor(child)
        if len(child.jobs) <= 2:  # a third job does not change what is due first
            self._clocks.note(child)
        return True

    def _hand_again_soon(self) -> None:
        # If no job runs, nothing else would ever look for room again.
        if self._hand_retry is None:
            self._hand_retry = self._loop.call_later(HAND_RETRY, self._hand_again)

    def _hand_again(self) -> None:
        self._hand_retry = None
        self._listener.on_room()

    def _roomiest(self, now: float) -> Child | None:
        # Spare children wait for their turn.
        takes_idle = len(self.children) <= self._limits.slots or self.busy < self._limits.slots
        best, least = None, self.pace.depth
        for child in self.children:
            held, run = len(child.jobs), child.run
            if held >= least or not child.takes_jobs:
                continue
            # No job is put behind one that has already run for longer than a job may wait.
            if now - run.since < HOLD if run else takes_idle:
                best, least = child, held
        return best

    def _ask_for_successor(self, child: Child) -> None:
        if not child.has_successor:
            child.note_successor()
            self._zygote.fork(self)

    def take_back(self) -> list[Work]:
        """Take back everything that was handed over and that no child has begun."""
        return [work for child in self.children for work in self._take_back(child)]

    def _take_back(self, child: Child) -> list[Work]:
        if back := child.take_back(now=self._loop.time()):
            self._forget(back)
            self._dismiss_if_done(child)
        return back

    def _forget(self, works: Iterable[Work]) -> None:
        for work in works:
            self.placements.remove(work)

    def interrupt(self, work: Work, cause: Cause) -> None:
        """Ask `work` to end soon; its child may not have begun it."""
        for held, child in self.placements.find(work.message.id):
            if held is work and not child.is_ending:
                child.interrupt(work, cause)

    def kill(self, child: Child, cause: Kill) -> None:
        """Kill a child with its whole tree; jobs that wait behind its job move at once."""
        # A child that uses too much memory would use more during its grace, and then the kernel
        # would kill all children.
        self._killer.kill(child, cause, at_once=cause in _AT_ONCE)
        self._on_held(child)

    def kill_running(self, cause: Kill) -> None:
        """Kill every child that has a job."""
        for child in self.children:
            if child.jobs:
                self.kill(child, cause)

    async def close(self) -> None:
        """End all children; those that still run are killed."""
        self._ending = True
        if not self.children:
            return
        for child in list(self.children):
            if child.jobs:
                self._killer.kill(child, Kill.DRAIN, at_once=True)
            else:
                child.dismiss()
        try:
            async with asyncio.timeout(CLOSE_GRACE):
                await self._empty.wait()
        except TimeoutError:
            for child in self.children:
                self._killer.kill(child, Kill.DRAIN, at_once=True)
        if self._burials:
            await asyncio.wait(self._burials, timeout=CLOSE_GRACE)

    # From the zygote

    def on_birth(self, birth: Birth) -> None:
        """Add a child that was requested."""
        child = Child(
            birth,
            max_jobs=self._limits.max_jobs,
            put_line=self._put_line,
            on_order=self._remind_later,
        )
        self.children.append(child)
        self._intake.watch(child)
        self._loop.add_reader(child.pidfd, self._on_exit, child)
        if self._ending:
            child.dismiss()
        else:
            self._listener.on_room()

    def on_fork_failed(self, error: str) -> None:
        """Note that a requested child could not be created."""
        log.error("fork-failed", error=error)
        self._respawn(barren=True)

    def _on_ended(self, child: Child, ended: Ended, tail: str, at: float) -> None:
        if ended.status is Status.FAILED and ended.traceback is None:
            ended = ended._replace(traceback=tail or None)
        work = child.end_first(at=at)
        self.placements.remove(work)
        # No run is longer, whatever a child reports, because scaling depends on it.
        if ended.seconds > work.hard_limit:
            ended = ended._replace(seconds=work.hard_limit)
        self._barren = 0
        self._weigh(child)
        if child.output.is_broken:
            self._replace(child)
        # If each job needs a new child, that takes most of the time, so no job waits in a child.
        if self._limits.max_jobs != 1:
            self.pace.note(ended.seconds)
        self._listener.on_ended(work, ended)

    def _on_progress(self, child: Child, progress: Progress) -> None:
        self._listener.on_progress(child.jobs[0], progress.value)

    def _on_read(self, child: Child) -> None:
        if child.jobs:
            self._clocks.note(child)
        else:
            self._dismiss_if_done(child)
        self._listener.on_room()

    def _on_fault(self, child: Child) -> None:
        if child.is_ending:
            return
        fields = child.culprit.fields() if child.culprit else {}
        log.error("child-broken", pid=child.pid, error=child.fault, **fields)
        self.kill(child, Kill.BROKEN)

    def _weigh(self, child: Child) -> None:
        most = self._limits.max_memory
        if most is None or not child.takes_jobs:
            return
        kept = processes.resident(child.pid)
        if kept > most:
            log.info("child-outgrown", pid=child.pid, bytes=kept, served=child.served)
            self._replace(child)

    def _replace(self, child: Child) -> None:
        """Have the child end once it has done the jobs that it holds."""
        child.retire()
        self._ask_for_successor(child)

    def _dismiss_if_done(self, child: Child) -> None:
        if child.is_done:
            child.dismiss()
            child.keep_timer(self._loop.call_later(CLOSE_GRACE, self._on_overstayed, child))

    def _on_overstayed(self, child: Child) -> None:
        if not child.is_dead:
            log.warning("child-stuck", pid=child.pid, grace=CLOSE_GRACE)
            self._killer.kill(child, Kill.DISMISSED, at_once=True)

    def _on_soft_limit(self, child: Child, run: Run) -> None:
        child.interrupt(run.job, Cause.SOFT_LIMIT)

    def _remind_later(self, child: Child, run: Run, delay: float = REMIND_AFTER) -> None:
        self._loop.call_later(delay, self._remind, child, run, delay)

    def _remind(self, child: Child, run: Run, delay: float) -> None:
        if child.run is run and not child.is_ending:
            child.signal(signal.SIGALRM)
            self._remind_later(child, run, min(2 * delay, REMIND_AT_MOST))

    def _on_hard_limit(self, child: Child, _run: Run) -> None:
        if not self._intake.has_ended(child):
            self.kill(child, Kill.HARD_LIMIT)

    def _on_held(self, child: Child) -> None:
        if back := self._take_back(child):
            self._listener.on_taken_back(back)

    def _on_exit(self, child: Child) -> None:
        child.die()
        self._loop.remove_reader(child.pidfd)
        burial = self._loop.create_task(self._bury(child))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        burial.add_done_callback(fail_loudly)

    async def _bury(self, child: Child) -> None:
        """Bury a child, in the order of docs/state_machine.md, "Order at the end of a child"."""
        await self._intake.finish_records(child)  # everything that it reported counts
        await self._killer.clean_up_after(child)
        back = child.take_back(now=self._loop.time())
        status = await self._zygote.reap(child.pid)
        tail = await self._intake.finish_output(child)
        died = child.charged()
        held = [child.culprit, *child.jobs] if child.culprit else child.jobs
        back = [*(work for work in held if work not in died), *back]
        barren = child.is_barren
        child.bury()
        self.children.remove(child)
        for work in died:
            seconds = self._loop.time() - child.since
            self.placements.remove(work)
            self._listener.on_death(work, death_of(child, work, status, tail=tail), seconds=seconds)
        if back:
            self._forget(back)
            self._listener.on_taken_back(back)
        if barren:
            log.error("child-died-idle", pid=child.pid, exit=describe_exit(status), output=tail)
        if self._ending or not child.has_successor:
            self._respawn(barren=barren)

    def _respawn(self, *, barren: bool) -> None:
        if self._ending:
            if not self.children:
                self._empty.set()
            return
        self._barren = self._barren + 1 if barren else 0
        if not self._barren:
            self._zygote.fork(self)
            return
        delay = backoff.delay_after(
            self._barren, first=0.2, most=MAX_RESPAWN_DELAY, jitter=backoff.NONE, chance=0.0
        )
        self._loop.call_later(delay, self._zygote.fork, self)


_AT_ONCE = (Kill.MEMORY_LIMIT, Kill.BROKEN)
