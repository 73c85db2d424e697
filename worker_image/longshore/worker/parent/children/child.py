"""One slot: a child, the jobs it holds and the clocks that run against them."""

import asyncio
import contextlib
import itertools
import math
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from longshore.logs import Log
from longshore.worker.parent.children.output import Output
from longshore.worker.parent.children.zygote import Birth
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

log = Log("longshore.slot")


class Kill(StrEnum):
    """Why a child is killed; the label of `longshore_kills_total`."""

    HARD_LIMIT = "hard-limit"
    MEMORY_LIMIT = "memory-limit"
    DRAIN = "drain"
    DISMISSED = "dismissed"
    """It had no more jobs to come, and did not end by itself."""

    BROKEN = "broken"
    """It said what no child of ours says, or has lost its end: nothing it says can be believed."""


MAX_RECORDS = 32
"""Records of one child that one turn of the event loop reads."""


class Slot:
    """The parent's side of one child. Nothing here waits."""

    def __init__(
        self,
        birth: Birth,
        *,
        put_line: Callable[[str], None],
        on_order: Callable[["Slot", Work], None],
    ) -> None:
        self.pid = birth.pid
        self.pidfd = birth.pidfd
        self.results = birth.results
        self.output_descriptor = birth.output
        self.output = Output(birth.output, boundary=birth.mark.boundary, put=put_line)
        self.busy: deque[Work] = deque()
        """In the order handed over; the first one runs."""

        self.since = 0.0
        """On the loop's clock: when the first job was handed over, or the one before it ended."""

        self.is_softened = False
        """The first job was told of its soft limit."""

        self.served = 0
        self.is_outgrown = False
        """Kept so much memory after a job, or lost its output over it, that it gets no more."""

        self.killed_for: Kill | None = None
        self.killed_until = 0.0
        """On the loop's clock: end of the kill grace."""

        self.dismissed = False
        """Was told that no more jobs come."""

        self.closing = False
        """Gets no more jobs: dying, or to be replaced."""

        self.has_successor = False
        """Another child was asked for, as this one's last job is here."""

        self.is_dead = False
        self.has_hung_up = False
        """Its end of the results is closed: it can report nothing more."""

        self.fault: str | None = None
        """What is wrong with what it has sent; it is killed over that."""

        self.culprit: Work | None = None
        """The job to blame for it, which is not among the others any more."""

        self.unsettled: deque[tuple[Ended | Progress, float]] = deque()
        """Records that wait until what their job wrote is logged, and when they came."""

        self.memory_seen = 0
        """Bytes at which the memory watchdog killed it."""

        self.kill_timer: asyncio.TimerHandle | None = None
        self._on_order = on_order
        """Called when a job was asked to end."""

        self._near = birth.near
        self._far = birth.far
        self._mark = birth.mark
        self._last = 0
        """Ticket of the job that ended last."""

        self._most = 0
        """Highest ticket of its jobs so far."""

        self._ahead = 0
        """Jobs that began before the culprit, and whose ends have not been taken yet."""

    @property
    def running(self) -> Work | None:
        """The job whose clocks run."""
        return self.busy[0] if self.busy else None

    def due(self, hold: float) -> float:
        """When a clock of the first job strikes: a limit, or `hold` with others behind it."""
        if not self.busy or self.killed_for or self.is_dead or self.unsettled:
            return math.inf
        if self.output.has_success_ahead:  # it has ended already
            return math.inf
        work = self.busy[0]
        first = work.hard_limit
        if not self.is_softened and work.soft_limit < first:
            first = work.soft_limit
        if len(self.busy) > 1 and hold < first:
            first = hold
        return self.since + first

    def begin(self, now: float) -> None:
        """The clocks of the first job run from here."""
        self.since = now
        self.is_softened = False
        if self.busy and self.busy[0].asked:  # while the result before it was still unread
            self._order(self.busy[0])

    def hand(self, work: Work) -> bool:
        """Give `work` to the child; False when its socket is full."""
        if not send_job(self._near, work.frame()):
            return False
        self.busy.append(work)
        self._most = max(self._most, work.ticket)
        return True

    def read_records(self, *, now: float) -> bool:
        """Read some of what the child has told, for `unsettled`; whether there was any.

        Finds the fault in what is no record, and sets `has_hung_up` at the end.
        """
        unsettled = self.unsettled
        before = len(unsettled)
        left = len(self.busy) - before
        nonsense: str | None = None
        for _ in range(MAX_RECORDS):
            if self.has_hung_up:
                break
            try:
                message = self.results.recv(MAX_RECORD + 1)
            except (BlockingIOError, ConnectionResetError):
                break
            if not message:  # or an empty one: of no child of ours either
                self.has_hung_up = True
                break
            try:
                record = decode_record(message)
            except NoRecord as error:
                nonsense = nonsense or str(error)
                continue
            if nonsense and not self.fault and isinstance(record, Ended):
                # The job that has sent it sends its end behind it.
                self.find_fault(nonsense, ticket=record.ticket)
            if unsettled and isinstance(record, Progress):
                last = unsettled[-1][0]
                if isinstance(last, Progress) and last.ticket == record.ticket:
                    unsettled.pop()  # a flood of them counts as one
            unsettled.append((record, now))
            left -= 1
            if not left:  # asking where nothing is to be expected costs as much as a record
                break
        if nonsense:
            self.find_fault(nonsense, ticket=self._mark.running)
        return len(unsettled) > before

    def find_fault(self, fault: str, *, ticket: int | None = None) -> None:
        """What the child has sent makes no sense: the job `ticket`, or the first one, is to blame.

        The ends of others, which it has told or tells before it is killed, stand.
        """
        if self.fault:
            return
        self.fault = fault
        begun = self.begun()
        if not begun:
            return
        self.culprit = next((work for work in begun if work.ticket == ticket), begun[0])
        self._ahead = begun.index(self.culprit)
        self.busy.remove(self.culprit)

    def accepts(self, record: Ended | Progress) -> bool:
        """Whether `record` is about the job that runs; sets `fault` if it can be of no job."""
        work = self.running
        if isinstance(record, Ended):
            if work is None or work.ticket != record.ticket or not self.has_begun():
                self.find_fault(f"job {record.ticket} has ended, but does not run")
                return False
            if not 0 <= record.seconds < math.inf:
                self.find_fault(f"seconds is {record.seconds}; it must be a time that has passed")
                return False
            return True
        if not 0 < record.ticket <= self._most:
            self.find_fault(f"there is no job {record.ticket}")
            return False
        # Else it is of a thread that outlives its job.
        return work is not None and work.ticket == record.ticket

    def holds_behind(self, ticket: int) -> bool:
        """Whether a job waits behind the first one."""
        return any(work.ticket == ticket for work in itertools.islice(self.busy, 1, None))

    def end_first(self, *, at: float) -> Work:
        """The first job has ended, `at` that time; the clocks of the next run from there."""
        work = self.busy.popleft()
        self._last = work.ticket
        self._ahead = max(0, self._ahead - 1)
        self.served += 1
        self.begin(at)
        return work

    def interrupt(self, work: Work, cause: Cause) -> None:
        """Ask `work` to end soon; one whose turn is yet to come hears of it then.

        Nothing but a graver cause follows: a lost delivery stays lost, and who was promised not to
        be charged is not given a soft limit.
        """
        if work.asked is not None and cause <= work.asked:
            return
        work.asked = cause
        if work is self.running:
            self._order(work)

    def _order(self, work: Work) -> None:
        if work.asked is not None:
            self._mark.order(work.ticket, work.asked)
            self.signal(signal.SIGALRM)
            self._on_order(self, work)

    def signal(self, number: signal.Signals) -> None:
        """Signal the child alone; the pidfd can mean no other process."""
        # No such process: it is dead already, and its end is on its way to us.
        with contextlib.suppress(ProcessLookupError):
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except PermissionError:  # the handler has changed its user
                log.warning("signal-refused", pids=[self.pid], signal=number.name)

    def take_back(self) -> list[Work]:
        """Jobs that the child has never received, exactly; they are ours again."""
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
        back = [work for work in self.busy if work.ticket in tickets]
        self.busy = deque(work for work in self.busy if work.ticket not in tickets)
        return back

    def has_begun(self) -> bool:
        """Whether the child has begun the first of its jobs.

        It then marks this one, one behind it, or whatever it wrote over its own memory; as long as
        it has not, it marks the job that ended last.
        """
        running = self._mark.running
        if self.culprit and running == self.culprit.ticket:
            return self._ahead > 0
        return running != self._last

    def begun(self) -> list[Work]:
        """Jobs that the child has begun, and whose ends it has not told.

        One at most, unless the child has lost what it tells them with.
        """
        if not self.has_begun():
            return []
        works = list(self.busy)
        running = self._mark.running
        last = next((index for index, work in enumerate(works) if work.ticket == running), 0)
        return works[: last + 1]

    def charged(self) -> list[Work]:
        """Which jobs its death is charged to; what else it holds goes back."""
        if self.killed_for is Kill.DRAIN:
            return []
        return [self.culprit] if self.culprit else self.begun()

    def end_input(self) -> None:
        """No more jobs: an idle child ends by itself."""
        self.closing = self.dismissed = True
        with contextlib.suppress(OSError):  # the child has shut it down itself
            self._near.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Give back every descriptor."""
        if self.kill_timer:
            self.kill_timer.cancel()
        for end in (self._near, self._far, self.results):
            end.close()
        os.close(self.output_descriptor)
        os.close(self.pidfd)
        self._mark.close()
