"""Publishes with a deadline: connects when needed, reconnects once, may be used from any thread.

Neither an exception that interrupts the caller at any point nor a fork at any moment leaves
anything broken: see `desk.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from longshore.amqp.address import Parameters
from longshore.amqp.errors import Abandoned, LinkLost
from longshore.amqp.link import CLOSE_TIMEOUT, BlockingLink
from longshore.errors import BrokerUnavailable, ConfirmTimeout, EnqueueError
from longshore.producing.desk import Desk, Errand, PerProcess, Unfinished
from longshore.producing.dialer import Dialer
from longshore.producing.submission import Submission


class BlockingPublisher:
    """Publishes one message at a time, each confirmed by the broker, over one connection.

    Threads take turns. A forked process opens its own connection, because two processes on one
    socket would corrupt both streams.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._outlets = PerProcess(lambda: _Outlet(parameters))

    def publish(self, submission: Submission, *, timeout: float) -> None:
        """Publish one message. Raises EnqueueError, shortly after `timeout` seconds at the latest.

        A connection that proves dead is replaced once, and the same message is sent again. If only
        the confirm was lost, the message is then stored twice, with one id.
        """
        if sys.is_finalizing():  # the thread that would publish has been stopped
            raise BrokerUnavailable(
                f"{submission}: the interpreter is shutting down; nothing was stored"
            )
        outlet = self._outlets.get()
        errand = Errand(
            lambda errand: outlet.publish(submission, errand), deadline=time.monotonic() + timeout
        )
        try:
            if _has_ended(errand, outlet.desk):
                return
        except Unfinished as error:
            raise BrokerUnavailable(
                f"{submission}: {errand.stage}: {error}; {_fate(errand)}"
            ) from None
        if errand.abandon():
            raise BrokerUnavailable(
                f"{submission}: no answer in {timeout:g} s: {errand.stage}; nothing was stored"
            )
        raise ConfirmTimeout(f"{submission}: no confirm in time; the job may or may not be stored")

    def close(self) -> None:
        """Close this process's connection, if there is one, after the jobs in progress.

        Waits for these no longer than `CLOSE_TIMEOUT`; after that, the last of them closes it.
        """
        if not sys.is_finalizing() and (outlet := self._outlets.existing()):
            deadline = time.monotonic() + CLOSE_TIMEOUT
            with suppress(Unfinished):
                _has_ended(Errand(lambda _: outlet.close(), deadline=deadline), outlet.desk)


def _has_ended(errand: Errand, desk: Desk) -> bool:
    try:
        desk.submit(errand)
        return errand.wait()
    except BaseException:
        # Also when this thread is interrupted: the job need not be sent any more.
        errand.abandon()
        raise


class _Outlet:
    """The connection of one process. Only its desk's thread uses it."""

    def __init__(self, parameters: Parameters) -> None:
        self.desk = Desk()
        self._dialer = Dialer(parameters)
        self._link: BlockingLink | None = None
        self._dials, self._confirms = _Lately(), _Lately()

    def publish(self, submission: Submission, errand: Errand) -> None:
        try:
            self._publish(submission, errand)
        except (EnqueueError, Abandoned):
            raise
        except Exception as error:
            # From pika or the system, such as "no descriptor left": a new connection may work.
            self._drop()
            raise BrokerUnavailable(
                f"{submission}: {errand.stage}: {type(error).__name__}: {error}; {_fate(errand)}"
            ) from error

    def _publish(self, submission: Submission, errand: Errand) -> None:
        link = self._usable_link()
        if link is not None:
            try:
                return self._send(link, submission, errand)
            except LinkLost:
                # An idle connection dies unnoticed; a new one shows whether the broker lives.
                self._drop()
        _refuse_if_late(submission, errand, self._dials.margin + self._confirms.margin)
        try:
            with self._dials.timed():
                self._link = self._dialer.dial(errand)
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"{error}; {_fate(errand)}") from error
        self._send(self._link, submission, errand)

    def _send(self, link: BlockingLink, submission: Submission, errand: Errand) -> None:
        _refuse_if_late(submission, errand, self._confirms.margin)
        try:
            link.wait_for_room(errand)
        except LinkLost:
            raise
        except BrokerUnavailable as error:
            raise BrokerUnavailable(f"{error}; {_fate(errand)}") from error
        _refuse_if_late(submission, errand, self._confirms.margin)
        with self._confirms.timed():
            link.publish(submission, errand)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _usable_link(self) -> BlockingLink | None:
        if self._link is not None and not self._link.is_usable():
            self._drop()
        return self._link

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abort()


_STALL = 0.1
"""Seconds for which a busy machine may stop a thread without prior indication."""


class _Lately:
    """The longest recent duration of one step; each further step reduces it by a tenth."""

    def __init__(self) -> None:
        self._seconds = 0.0

    @property
    def margin(self) -> float:
        """Seconds within which the next step is expected to end."""
        return 2 * self._seconds + _STALL

    @contextmanager
    def timed(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._seconds = max(time.monotonic() - begun, 0.9 * self._seconds)


def _refuse_if_late(submission: Submission, errand: Errand, needed: float) -> None:
    # Without time for its confirm, a job would lose the connection at its deadline, and cost
    # the next job the time for a new one.
    if not errand.has_time_for(needed):
        raise BrokerUnavailable(
            f"{submission}: {errand.stage}: too little time is left for the confirm; "
            f"{_fate(errand)}"
        )


def _fate(errand: Errand) -> str:
    return "the job may or may not be stored" if errand.has_begun else "nothing was stored"
