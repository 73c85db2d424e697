"""One slot: a child, the jobs it holds and the clocks that run against them."""

import asyncio
import contextlib
import math
import os
import signal
import socket
from collections import deque
from enum import StrEnum

from longshore.worker.frames import (
    Cause,
    Ended,
    Progress,
    RecordReader,
    receive_job,
    send_job,
)
from longshore.worker.parent.logs import Log
from longshore.worker.parent.output import Output
from longshore.worker.parent.work import Work
from longshore.worker.parent.zygote import Birth

log = Log("longshore.slot")


class Kill(StrEnum):
    """Why a child is killed; the label of `longshore_kills_total`."""

    HARD_LIMIT = "hard-limit"
    MEMORY_LIMIT = "memory-limit"
    DRAIN = "drain"
    DISMISSED = "dismissed"
    """It had no more jobs to come, and did not end by itself."""


class Slot:
    """The parent's side of one child. Nothing here waits."""

    def __init__(self, birth: Birth) -> None:
        self.pid = birth.pid
        self.pidfd = birth.pidfd
        self.results = birth.results
        self.output_descriptor = birth.output
        self.output = Output(birth.output, boundary=birth.mark.boundary)
        self.busy: deque[Work] = deque()
        """In the order handed over; the first one runs."""

        self.since = 0.0
        """On the loop's clock: when the first job was handed over, or the one before it ended."""

        self.is_softened = False
        """The first job was told of its soft limit."""

        self.served = 0
        self.is_outgrown = False
        """Kept so much memory after a job that it gets no more."""

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

        self.memory_seen = 0
        """Bytes at which the memory watchdog killed it."""

        self.kill_timer: asyncio.TimerHandle | None = None
        self._near = birth.near
        self._far = birth.far
        self._mark = birth.mark
        self._reader = RecordReader()

    @property
    def running(self) -> Work | None:
        """The job whose clocks run."""
        return self.busy[0] if self.busy else None

    def due(self, hold: float) -> float:
        """When a clock of the first job strikes: a limit, or `hold` with others behind it."""
        if not self.busy or self.killed_for or self.is_dead:
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
        return True

    def read_records(self) -> list[Ended | Progress]:
        """What the child has told since; at most one buffer full."""
        try:
            data = self.results.recv(262_144)
        except (BlockingIOError, ConnectionResetError):
            return []
        if not data:
            self.has_hung_up = True
            return []
        return self._reader.feed(data)

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

    def has_begun(self, work: Work) -> bool:
        """Whether the child got as far as beginning `work`."""
        return self._mark.running == work.ticket

    def end_input(self) -> None:
        """No more jobs: an idle child ends by itself."""
        self.closing = self.dismissed = True
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
