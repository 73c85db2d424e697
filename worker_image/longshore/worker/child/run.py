"""A child: runs one job after another and reports how each ended."""

import _socket
import asyncio
import contextlib
import fcntl
import inspect
import os
import termios
import traceback
from array import array
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Protocol

from longshore.binding import InvalidArguments, NotAnObject
from longshore.errors import SoftTimeLimit
from longshore.handler import Job
from longshore.worker.child import capture, failures, results
from longshore.worker.child.chain import Chain
from longshore.worker.child.failures import Ending, Failure
from longshore.worker.child.interrupt import Interrupts
from longshore.worker.child.orphans import Orphans
from longshore.worker.child.results import Returned
from longshore.worker.child.state import ProcessState
from longshore.worker.kept import monotonic
from longshore.worker.linux import prctl
from longshore.worker.wire.frames import (
    END,
    TOLD_IN_A_RECORD,
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


class Program(Protocol):
    """Runs the jobs of one handler."""

    @property
    def takes_job(self) -> bool:
        """Whether `call` uses the job."""

    @property
    def throws(self) -> tuple[type[Exception], ...]:
        """Exceptions that are expected and final."""

    @property
    def retry_when(self) -> Callable[[Exception], bool] | None:
        """Returns whether a job that failed with this exception is retried."""

    def arguments(self, body: bytes) -> Any:
        """Return the arguments in the body for `call`. Raises NotAnObject or InvalidArguments."""

    def call(self, job: Any, arguments: Any) -> Any:
        """Run the job and return its result, which the caller must await if it is awaitable."""


class Programs(Protocol):
    """The programs that run jobs, by the handler's name."""

    def __getitem__(self, handler: str, /) -> Program:
        """Return the program for a handler. It is only called for handlers that are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """A child's ends of what it shares with the parent; `output` and `mark` are descriptors."""

    jobs: _socket.socket
    results: _socket.socket
    output: int
    mark: int


def main(
    ends: Ends, programs: Programs, chain: Chain | None, *, queue: str, zygote: int
) -> NoReturn:
    """Run jobs until the parent closes its end."""
    code = 1
    try:
        prctl.die_with(zygote)
        prctl.adopt_orphans()  # a job's daemons stay the child's descendants, and are accounted
        os.setpgid(0, 0)
        capture.redirect(ends.output)
        mark = Mark(ends.mark)
        os.close(ends.mark)
        for end in (ends.jobs, ends.results):
            end.setblocking(True)  # whatever `socket.setdefaulttimeout` the modules have set
        _Child(ends, mark, programs, chain, queue).serve()
        if chain:
            chain.close()
        code = 0
    except BaseException:  # nothing may reach the zygote's stack
        traceback.print_exc()
    finally:
        capture.flush()
        os._exit(code)


# Saved here, because the handlers' modules may replace them.
_getpid, _ioctl, _write = os.getpid, fcntl.ioctl, os.write


class _Child:
    def __init__(
        self, ends: Ends, mark: Mark, programs: Programs, chain: Chain | None, queue: str
    ) -> None:
        self._jobs = ends.jobs
        self._results = ends.results
        self._output = ends.output
        self._mark = mark
        self._boundary = mark.boundary
        self._programs = programs
        self._chain = chain
        self._queue = queue
        self._interrupts = Interrupts(mark)
        self._state = ProcessState(
            ends.output, ends.results.fileno(), on_alarm=self._interrupts.on_signal
        )
        self._orphans = Orphans()
        self._runner: asyncio.Runner | None = None
        self._pid = os.getpid()
        self._unread = array("i", [0])
        self._is_mute = False
        """Whether nothing more can be reported over the results' socket."""

    def serve(self) -> None:
        self._interrupts.watch()
        while received := receive_job(self._jobs):
            # From here on, a death is charged to this job, even if decoding it is the cause.
            self._mark.running = received.ticket
            frame = received.open()
            ended = self._run(frame)
            if _getpid() != self._pid:
                os._exit(0)  # the handler forked, and its child returned through our stack
            now = self._state.job_has_ended(after=frame.handler)
            capture.flush()
            self._tell(ended)
            self._orphans.bury(now=now)
            if self._is_mute or not self._state.restore():
                return  # the parent takes back what waits here and requests another child

    def _tell(self, ended: Ended) -> None:
        state = self._state
        if state.has_output and ended.status is Status.SUCCEEDED and self._is_bare(ended):
            _write(self._output, self._boundary + END.pack(ended.ticket, ended.seconds))
            return
        # If ours were closed, files of the job may have their numbers now.
        if not state.has_results():
            raise _Untold("the job has closed the descriptors that report its outcome")
        if state.has_output:
            _write(self._output, self._boundary + TOLD_IN_A_RECORD)
        self._results.send(encode_record(ended))

    def _is_bare(self, success: Ended) -> bool:
        """Return whether the outcome is a success about which nothing else can be said.

        It is not while the parent has yet to read what was sent over the results' socket. The end
        of the job must then follow there too: progress belongs to the running job, and senseless
        records are charged to the running job.
        """
        if (success.result or success.result_omitted) and self._state.has_results():
            return False
        try:
            _ioctl(self._results.fileno(), termios.TIOCOUTQ, self._unread)
        except (OSError, ValueError):  # the job has closed it
            self._is_mute = True
            return True
        return self._unread[0] == 0

    def _run(self, frame: JobFrame) -> Ended:
        started = monotonic()
        try:
            with self._interrupts.user_code():
                # In its own context, otherwise the next job would see its variables.
                left = copy_context().run(self._call, frame)
            if left is None:
                return Ended(frame.ticket, Status.SUCCEEDED, monotonic() - started)
            if isinstance(left, Failure):
                ending = failures.ending_of(left)
            else:
                ending = results.success_with(left)
        except NotAnObject as error:
            ending = Ending(Status.UNDECODABLE, str(error))
        except InvalidArguments as error:
            ending = Ending(Status.INVALID_ARGUMENTS, str(error))
        except BaseException as error:  # a handler may raise anything
            ending = failures.ending_of(Failure(error))
        return Ended(
            frame.ticket,
            ending.status,
            monotonic() - started,
            ending.error,
            ending.traceback,
            ending.delay,
            ending.result,
            ending.result_omitted,
        )

    def _call(self, frame: JobFrame) -> Failure | Returned | None:
        program = self._programs[frame.handler]
        arguments = program.arguments(frame.body)
        try:
            if self._chain is None:
                job = self._job(frame, program) if program.takes_job else None
                value = self._invoke(program, job, arguments)
            else:
                value = self._run_chain(self._chain, self._job(frame, program), program, arguments)
        except BaseException as error:
            leaf = failures.leaf(error)
            if not issubclass(type(leaf), Exception):
                raise
            self._interrupts.handler_has_ended()
            return failures.judged(leaf, program)
        return None if value is None else Returned(value)

    def _run_chain(self, chain: Chain, job: Job, program: Program, arguments: Any) -> object:
        own: list[BaseException] = []
        value: object = None

        def work() -> None:
            nonlocal value
            try:
                value = self._invoke(program, job, arguments)
            except BaseException as error:
                own.append(error)
                raise
            finally:
                self._interrupts.handler_has_ended()

        try:
            chain.run(job, work)
        except SoftTimeLimit as late:
            # Even a handler that has succeeded fails with it: its commit may be interrupted.
            if not own or late is own[0]:
                raise
            with contextlib.suppress(Exception):  # its stderr may be closed
                traceback.print_exception(late)
            first = own[0]
        else:
            return value
        finally:
            own.clear()  # otherwise the errors hold their frames, and those hold this list
        raise first

    def _invoke(self, program: Program, job: Job | None, arguments: Any) -> object:
        """Run the handler to its end and return its result."""
        result: object = program.call(job, arguments)
        # Most return None, and `isawaitable` is slower because it uses an abstract class.
        if result is None or not inspect.isawaitable(result):
            return result
        loop = self._event_loop()
        work = loop.create_task(self._await(result))
        try:
            while not work.done():
                # A callback of an earlier job may stop the loop, which must not end this job.
                with _even_if_stopped(work):
                    loop.run_until_complete(work)
        except BaseException:
            if work.done() and not work.cancelled():
                work.exception()  # otherwise asyncio complains that it was never retrieved
            if asyncio.all_tasks(loop):
                self._runner = None  # it has unfinished tasks, which must not affect the next job
            raise
        return work.result()

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that all jobs share; a new one if a job has closed it or shut down its
        threads."""
        if self._runner is None or _is_spent(self._runner.get_loop()):
            self._runner = asyncio.Runner()
        return self._runner.get_loop()

    async def _await(self, result: Awaitable[object]) -> object:
        task = asyncio.ensure_future(result)
        self._interrupts.deliver_to(task)
        try:
            return await task
        except asyncio.CancelledError:
            raise self._interrupts.exception() or _Cancelled(
                "the handler's task was cancelled"
            ) from None
        finally:
            self._interrupts.handler_has_ended()
            self._interrupts.deliver_to(None)
            # A job's tasks end with the job; the loop stays, and with it connection pools.
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for leftover in rest:
                leftover.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    def _job(self, frame: JobFrame, program: Program) -> Job:
        return Job(
            id=frame.id,
            handler=frame.handler,
            attempt=frame.attempt,
            max_attempts=frame.max_attempts,
            queue=self._queue,
            enqueued_at=datetime.fromtimestamp(frame.enqueued_at / 1000, UTC),
            deadline=datetime.now(UTC) + timedelta(seconds=frame.hard_limit),
            traceparent=frame.traceparent,
            headers=frame.headers,
            _throws=program.throws,
            _report=self._progress_of(frame.ticket),
            _is_lost=lambda: self._mark.is_lost(frame.ticket),
        )

    def _progress_of(self, ticket: int) -> Callable[[object], None]:
        last = -PROGRESS_INTERVAL

        def report(value: object) -> None:
            nonlocal last
            now = monotonic()
            if now - last < PROGRESS_INTERVAL or self._mark.running != ticket:
                return
            last = now
            # One message, so that the kernel keeps it separate from those of other threads, of
            # processes that the job has forked, and of signal handlers.
            self._results.send(encode_record(Progress(ticket=ticket, value=value)))

        return report


def _is_spent(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether `loop` can do less than a new one. asyncio has no public way to read the state
    of its threads."""
    threads = getattr(loop, "_default_executor", None)
    return (
        loop.is_closed()
        or getattr(loop, "_executor_shutdown_called", False)
        or getattr(threads, "_shutdown", False)
    )


@contextlib.contextmanager
def _even_if_stopped(work: asyncio.Task[Any]) -> Iterator[None]:
    """Suppress the error that the loop was stopped before `work` was done."""
    try:
        yield
    except RuntimeError as error:
        if work.done() or str(error) != "Event loop stopped before Future completed.":
            raise


class _Untold(Exception):
    """Nothing can be reported to the parent any more."""


class _Cancelled(Exception):
    """A task was cancelled by its own handler, not by the worker."""
