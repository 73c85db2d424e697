"""A child: runs one job after another and reports how each ended."""

import asyncio
import inspect
import os
import socket
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from longshore.binding import Binding, InvalidArguments, NotAnObject
from longshore.contract.message import MAX_ERROR, MAX_TRACEBACK
from longshore.errors import Discard, Interrupted, Retry, Snooze, SoftTimeLimit
from longshore.handler import Job
from longshore.worker import prctl
from longshore.worker.child import capture
from longshore.worker.child.interrupt import Interrupts
from longshore.worker.child.orphans import Orphans
from longshore.worker.frames import (
    Ended,
    JobFrame,
    Mark,
    Progress,
    Status,
    encode_record,
    receive_job,
)

PROGRESS_INTERVAL = 0.5
"""Seconds between two progress records of a job; values in between are dropped."""

MAX_PROGRESS = 4096
"""Bytes of one progress record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """A child's ends of what it shares with the parent; `output` and `mark` are descriptors."""

    jobs: socket.socket
    results: socket.socket
    output: int
    mark: int


def main(ends: Ends, bindings: Mapping[str, Binding], *, queue: str, zygote: int) -> NoReturn:
    """Run jobs until the parent closes its end."""
    code = 1
    try:
        prctl.die_with(zygote)
        prctl.adopt_orphans()  # so that a daemon of a job stays below the child, in its account
        os.setpgid(0, 0)
        capture.redirect(ends.output)
        mark = Mark(ends.mark)
        os.close(ends.mark)
        _Child(ends, mark, bindings, queue).serve()
        code = 0
    except BaseException:  # nothing may return into the zygote's stack
        traceback.print_exc()
    finally:
        capture.flush()
        os._exit(code)


class _Child:
    def __init__(self, ends: Ends, mark: Mark, bindings: Mapping[str, Binding], queue: str) -> None:
        self._jobs = ends.jobs
        self._results = ends.results
        self._output = ends.output
        self._mark = mark
        self._boundary = mark.boundary
        self._bindings = bindings
        self._queue = queue
        self._interrupts = Interrupts(mark)
        self._orphans = Orphans()
        self._runner: asyncio.Runner | None = None
        self._pid = os.getpid()
        self._sending = threading.Lock()
        """A thread of the handler may tell progress too."""

    def serve(self) -> None:
        self._interrupts.install()
        while received := receive_job(self._jobs):
            # From here on a death is this job's: decoding it is already its own doing.
            self._mark.running = received.ticket
            ended = self._run(received.open())
            if os.getpid() != self._pid:
                os._exit(0)  # the handler forked, and its child came back through our stack
            capture.flush()
            os.write(self._output, self._boundary)
            self._orphans.bury(now=time.monotonic())
            with self._sending:  # a thread of an earlier job may tell progress now
                self._results.sendall(encode_record(ended))

    def _run(self, frame: JobFrame) -> Ended:
        started = time.monotonic()
        ending = _SUCCEEDED
        try:
            with self._interrupts.user_code():
                self._call(frame)
        except NotAnObject as error:
            ending = _Ending(Status.UNDECODABLE, str(error))
        except InvalidArguments as error:
            ending = _Ending(Status.INVALID_ARGUMENTS, str(error))
        except BaseException as error:  # a handler may raise anything
            ending = _ending_of(error)
        return Ended(
            frame.ticket,
            ending.status,
            time.monotonic() - started,
            ending.error,
            ending.traceback,
            ending.delay,
        )

    def _call(self, frame: JobFrame) -> None:
        binding = self._bindings[frame.handler]
        arguments = binding.arguments(frame.body)
        job = self._job(frame) if binding.takes_job else None
        result = binding.call(job, arguments)
        # Most return nothing, and `isawaitable` asks an abstract class.
        if result is None or not inspect.isawaitable(result):
            return
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.get_loop().run_until_complete(self._await(result))
        except (SystemExit, KeyboardInterrupt):
            self._runner = None  # they leave the loop in the middle of things
            raise

    async def _await(self, result: Awaitable[object]) -> None:
        task = asyncio.ensure_future(result)
        self._interrupts.deliver_to(task)
        try:
            await task
        except asyncio.CancelledError:
            raise self._interrupts.exception() or _Cancelled(
                "the handler's task was cancelled"
            ) from None
        finally:
            self._interrupts.deliver_to(None)
            # A job's tasks end with the job; the loop stays, and with it pools of connections.
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for leftover in rest:
                leftover.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    def _job(self, frame: JobFrame) -> Job:
        return Job(
            id=frame.id,
            attempt=frame.attempt,
            max_attempts=frame.max_attempts,
            queue=self._queue,
            enqueued_at=datetime.fromtimestamp(frame.enqueued_at / 1000, UTC),
            deadline=datetime.now(UTC) + timedelta(seconds=frame.hard_limit),
            traceparent=frame.traceparent,
            headers=frame.headers,
            _report=self._progress_of(frame.ticket),
            _is_lost=lambda: self._mark.is_lost(frame.ticket),
        )

    def _send(self, record: bytes) -> None:
        """From user code, of whatever thread."""
        if threading.current_thread() is not threading.main_thread():
            with self._sending:
                self._results.sendall(record)
            return
        with self._interrupts.held_back(), self._sending:
            self._results.sendall(record)

    def _progress_of(self, ticket: int) -> Callable[[object], None]:
        last = -PROGRESS_INTERVAL

        def report(value: object) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < PROGRESS_INTERVAL or self._mark.running != ticket:
                return
            last = now
            record = encode_record(Progress(ticket=ticket, value=value))
            if len(record) > MAX_PROGRESS:
                raise ValueError(
                    f"a progress value of {len(record)} bytes is too large; "
                    f"{MAX_PROGRESS} is the most"
                )
            self._send(record)

        return report


@dataclass(frozen=True, slots=True)
class _Ending:
    status: Status
    error: str | None = None
    traceback: str | None = None
    delay: float | None = None


_SUCCEEDED = _Ending(Status.SUCCEEDED)


class _Cancelled(Exception):
    """A task that was cancelled by its own handler, not by us."""


def _ending_of(error: BaseException) -> _Ending:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    said = said[:MAX_ERROR]
    match error:
        case Snooze(delay=delay):
            return _Ending(Status.SNOOZED, said, delay=delay)
        case Discard():
            return _Ending(Status.DISCARDED, said, _trace(error))
        case Retry(after=after):
            return _Ending(Status.FAILED, said, _trace(error), after)
        case Interrupted() if not isinstance(error, SoftTimeLimit):
            return _Ending(Status.INTERRUPTED, said)
        case _:
            return _Ending(Status.FAILED, said, _trace(error))


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
