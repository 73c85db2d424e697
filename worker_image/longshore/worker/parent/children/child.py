"""One child: its state, the jobs that it holds, and what it reports about them."""

import asyncio
import contextlib
import itertools
import math
import os
import signal
import socket
from collections import deque
from collections.abc import Callable

from longshore.logs import Log
from longshore.worker.parent.children.output import Output
from longshore.worker.parent.children.states import TRANSITIONS, ChildState, Kill
from longshore.worker.parent.children.zygote import Birth
from longshore.worker.parent.jobs.run import Run
from longshore.worker.parent.jobs.work import Work
from longshore.worker.wire.frames import (
    MAX_RECORD,
    Cause,
    Ended,
    NoRecord,
    Progress,
    decode_record,
    receive_job,
    send_job,
)

log = Log("longshore.child")

MAX_RECORDS = 32
"""Records of one child that one turn of the event loop reads."""


class Child:
    """The parent's side of one child. Nothing here blocks.

    The child gets at most `max_jobs` jobs in its life, or any number if that is 0. `on_order` is
    called whenever a run was asked to end.
    """

    def __init__(
        self,
        birth: Birth,
        *,
        max_jobs: int,
        put_line: Callable[[str], None],
        on_order: Callable[["Child", Run], None],
    ) -> None:
        self.pid = birth.pid
        self.pidfd = birth.pidfd
        self.results = birth.results
        self.output_descriptor = birth.output
        self.output = Output(birth.output, boundary=birth.mark.boundary, put=put_line)
        self.state = ChildState.SERVING
        self.jobs: deque[Work] = deque()
        """Jobs in the order in which they were handed over; the first one runs."""

        self.run: Run | None = None
        """The run of the first job. It began when the job was handed over, or when the previous job
        ended."""

        self.since = 0.0
        """When the latest run began, even if its job is no longer among `jobs`."""

        self.served = 0
        self.killed_for: Kill | None = None
        self.killed_until = 0.0
        """The end of the kill grace, on the loop's clock."""

        self.memory_seen = 0
        """The memory in bytes for which the memory watchdog killed it."""

        self.has_successor = False
        """Whether another child was requested, because this one has its last job."""

        self.has_hung_up = False
        """Whether its end of the results is closed, so that it can report nothing more."""

        self.fault: str | None = None
        """What is wrong with its messages; it is killed because of that."""

        self.culprit: Work | None = None
        """The job to blame for the fault; it is no longer among the others."""

        self.unsettled: deque[tuple[Ended | Progress, float]] = deque()
        """Records that wait until their job's output is logged, with their times of arrival."""

        self.timer: asyncio.TimerHandle | None = None
        """A scheduled action on the child, cancelled when it is buried."""

        self._max_jobs = max_jobs
        self._on_order = on_order
        self._near = birth.near
        self._far = birth.far
        self._mark = birth.mark
        self._asked: dict[int, Cause] = {}
        """Why jobs that have not begun yet are asked to end, by ticket."""

        self._was_dismissed = False
        self._last = 0
        """Ticket of the last job that ended."""

        self._most = 0
        """Highest ticket of its jobs so far."""

        self._ahead = 0
        """Jobs that began before the culprit, and whose ends have not been taken yet."""

    @property
    def takes_jobs(self) -> bool:
        """Whether it may be given another job, now or later."""
        if self.state is not ChildState.SERVING:
            return False
        return not 0 < self._max_jobs <= self.served + len(self.jobs)

    @property
    def is_done(self) -> bool:
        """Whether its last job has ended, and it has not been dismissed yet."""
        is_open = self.state is ChildState.SERVING or self.state is ChildState.RETIRING
        return is_open and not self.jobs and not self.takes_jobs

    @property
    def is_ending(self) -> bool:
        """Whether it is dead or being killed."""
        return self.state in (ChildState.DYING, ChildState.DEAD, ChildState.BURIED)

    @property
    def is_dead(self) -> bool:
        """Whether its process has ended."""
        return self.state in (ChildState.DEAD, ChildState.BURIED)

    @property
    def is_barren(self) -> bool:
        """Whether it ended without having begun a job, and without having been told to end."""
        was_asked = self._was_dismissed or self.killed_for not in (None, Kill.BROKEN)
        has_begun = self.served or self.culprit is not None or self.has_begun()
        return not (was_asked or has_begun)

    def retire(self) -> None:
        """Give it no more jobs; it finishes those that it has."""
        self._enter(ChildState.RETIRING)

    def dismiss(self) -> None:
        """Tell an idle child that no more jobs will come, so that it ends by itself."""
        if self._enter(ChildState.DISMISSED):
            self._was_dismissed = True
            with contextlib.suppress(OSError):  # the child has shut it down itself
                self._near.shutdown(socket.SHUT_WR)

    def begin_kill(self, cause: Kill, *, until: float) -> bool:
        """Note that it is being killed, and that its tree may live until `until`.

        Return whether this is its first kill: only the first one's cause counts.
        """
        is_first = self.killed_for is None
        if is_first:
            self.killed_for = cause
        self.killed_until = until
        self._enter(ChildState.DYING)
        return is_first

    def die(self) -> None:
        """Note that its process has ended."""
        self._enter(ChildState.DEAD)

    def bury(self) -> None:
        """Close all descriptors."""
        self._enter(ChildState.BURIED)
        if self.timer:
            self.timer.cancel()
        for end in (self._near, self._far, self.results):
            end.close()
        os.close(self.output_descriptor)
        os.close(self.pidfd)
        self._mark.close()

    def _enter(self, state: ChildState) -> bool:
        if state not in TRANSITIONS[self.state]:
            return False
        self.state = state
        return True

    def note_successor(self) -> None:
        """Note that another child was requested in its place."""
        self.has_successor = True

    def note_memory(self, used: int) -> None:
        """Note how many bytes its tree uses, for which it will be killed."""
        self.memory_seen = used

    def keep_timer(self, timer: asyncio.TimerHandle) -> None:
        """Have `timer` cancelled when the child is buried."""
        self.timer = timer

    def due(self, hold: float) -> float:
        """Return when a clock of its run is due: a limit, or `hold` if jobs wait behind it."""
        run = self.run
        if run is None or self.unsettled:
            return math.inf
        if self.state is not ChildState.SERVING and self.state is not ChildState.RETIRING:
            return math.inf
        if self.output.has_success_ahead:  # it has ended already
            return math.inf
        due = run.due
        if len(self.jobs) > 1 and run.since + hold < due:
            due = run.since + hold
        return due

    def begin(self, now: float) -> None:
        """Start a run of the first job."""
        self.since = now
        if not self.jobs:
            self.run = None
            return
        job = self.jobs[0]
        # It may have been asked to end while the previous result was still unread.
        asked = self._asked.pop(job.ticket, None) if self._asked else None
        self.run = Run(job, now, asked)
        if asked is not None:
            self._order(self.run, asked)

    def hand(self, work: Work, *, now: float) -> bool:
        """Give `work` to the child; return False if its socket is full."""
        if not send_job(self._near, work.frame()):
            return False
        self.jobs.append(work)
        if work.ticket > self._most:
            self._most = work.ticket
        if len(self.jobs) == 1:
            self.begin(now)
        return True

    def read_records(self, *, now: float) -> bool:
        """Read some of the child's records into `unsettled`; return whether there were any.

        An invalid message becomes the fault, and the end of the results sets `has_hung_up`.
        """
        unsettled = self.unsettled
        before = len(unsettled)
        left = len(self.jobs) - before
        nonsense: str | None = None
        for _ in range(MAX_RECORDS):
            if self.has_hung_up:
                break
            try:
                message = self.results.recv(MAX_RECORD + 1)
            except (BlockingIOError, ConnectionResetError):
                break
            if not message:  # or an empty message, which no child of ours sends either
                self.has_hung_up = True
                break
            try:
                record = decode_record(message)
            except NoRecord as error:
                nonsense = nonsense or str(error)
                continue
            if nonsense and not self.fault and isinstance(record, Ended):
                # The job that sent the invalid message sends its end after it.
                self.find_fault(nonsense, ticket=record.ticket)
            if unsettled and isinstance(record, Progress):
                last = unsettled[-1][0]
                if isinstance(last, Progress) and last.ticket == record.ticket:
                    unsettled.pop()  # a flood of progress counts as one record
            unsettled.append((record, now))
            left -= 1
            if not left:  # a futile read costs as much as a record
                break
        if nonsense:
            self.find_fault(nonsense, ticket=self._mark.running)
        return len(unsettled) > before

    def find_fault(self, fault: str, *, ticket: int | None = None) -> None:
        """Note an invalid message, and blame the job `ticket`, or the first one.

        The ends of other jobs count if the child reports them before it is killed.
        """
        if self.fault:
            return
        self.fault = fault
        self._enter(ChildState.BROKEN)
        begun = self.begun()
        if not begun:
            return
        self.culprit = next((work for work in begun if work.ticket == ticket), begun[0])
        self._ahead = begun.index(self.culprit)
        self.jobs.remove(self.culprit)
        if self.run and self.run.job is self.culprit:
            self.run = None  # no clock matters any more

    def accepts(self, record: Ended | Progress) -> bool:
        """Return whether `record` is of the running job; set `fault` if no job can have sent it."""
        work = self.jobs[0] if self.jobs else None
        if isinstance(record, Ended):
            if work is None or work.ticket != record.ticket or not self.has_begun():
                self.find_fault(f"job {record.ticket} has ended, but was not running")
                return False
            if not 0 <= record.seconds < math.inf:
                self.find_fault(f"seconds is {record.seconds}; it must be a time that has passed")
                return False
            return True
        if not 0 < record.ticket <= self._most:
            self.find_fault(f"there is no job {record.ticket}")
            return False
        # Otherwise it comes from a thread that outlives its job.
        return work is not None and work.ticket == record.ticket

    def holds_behind(self, ticket: int) -> bool:
        """Return whether the job `ticket` waits behind the first one."""
        return any(work.ticket == ticket for work in itertools.islice(self.jobs, 1, None))

    def end_first(self, *, at: float) -> Work:
        """End the first job, `at` that time, when the clocks of the next run start."""
        work = self.jobs.popleft()
        self._last = work.ticket
        if self._ahead:
            self._ahead -= 1
        self.served += 1
        self.begin(at)
        return work

    def interrupt(self, work: Work, cause: Cause) -> None:
        """Ask `work` to end soon; if it has not begun yet, it is asked when it begins."""
        if self.run and self.run.job is work:
            if self.run.ask(cause):
                self._order(self.run, cause)
        else:
            self._asked[work.ticket] = max(cause, self._asked.get(work.ticket, cause))

    def _order(self, run: Run, cause: Cause) -> None:
        self._mark.order(run.job.ticket, cause)
        self.signal(signal.SIGALRM)
        self._on_order(self, run)

    def signal(self, number: signal.Signals) -> None:
        """Signal the child alone; the pidfd cannot mean any other process."""
        # If there is no such process, the child is dead, and its exit will be reported.
        with contextlib.suppress(ProcessLookupError):
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except PermissionError:  # the handler has changed its user
                log.warning("signal-refused", pids=[self.pid], signal=number.name)

    def take_back(self, *, now: float) -> list[Work]:
        """Take back exactly those jobs that the child has never received."""
        tickets = set()
        while True:
            try:
                received = receive_job(self._far, flags=socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            if received is None:
                break
            tickets.add(received.ticket)
            received.drop()
        if not tickets:
            return []
        back = [work for work in self.jobs if work.ticket in tickets]
        self.jobs = deque(work for work in self.jobs if work.ticket not in tickets)
        for ticket in tickets:
            self._asked.pop(ticket, None)
        if self.run and self.run.job in back:
            # The clocks ran against a job that never began. A later job, which the child has
            # received meanwhile, gets its whole time.
            self.begin(now)
        return back

    def has_begun(self) -> bool:
        """Return whether the child has begun the first of its jobs.

        If it has, its mark names this job, a later one, or anything that it wrote over its own
        memory. If it has not, its mark names the last job that ended.
        """
        running = self._mark.running
        if self.culprit and running == self.culprit.ticket:
            return self._ahead > 0
        return running != self._last

    def begun(self) -> list[Work]:
        """Return the jobs that the child has begun, and whose ends it has not reported.

        This is at most one job, unless the child has lost its means to report.
        """
        if not self.has_begun():
            return []
        works = list(self.jobs)
        running = self._mark.running
        last = next((index for index, work in enumerate(works) if work.ticket == running), 0)
        return works[: last + 1]

    def charged(self) -> list[Work]:
        """Return the jobs that its death is charged to; the others that it holds are given back."""
        if self.killed_for is Kill.DRAIN:
            return []
        return [self.culprit] if self.culprit else self.begun()
